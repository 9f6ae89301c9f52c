//! What an identity value is, and how it is cleaned up before it is looked up.

/// How an identity value is looked up (`as` in the configuration).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum IdentityKind {
    /// Decided by the value: an IP address is looked up, anything else is the employee id itself.
    Auto,
    /// The employee id itself.
    EmployeeId,
    /// An IP address.
    Ip,
    /// An e-mail address, without regard to case.
    Email,
    /// A user name, without regard to case, without a domain before or after it.
    Username,
    /// A host name: its first label, without regard to case.
    Hostname,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Auto, Self::EmployeeId, Self::Ip, Self::Email, Self::Username, Self::Hostname];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::EmployeeId => "employee_id",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Username => "username",
            Self::Hostname => "hostname",
        }
    }
}
