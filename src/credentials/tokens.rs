//! Files of tokens: `NAME:SHA256-HEX-OF-TOKEN[:SCOPE]`.

use std::sync::Arc;

use super::{LineError, Scope};

/// The SHA-256 digest of a token.
pub type TokenDigest = [u8; 32];

/// The tokens of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens(Vec<Token>);

/// A token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// The name of whoever has it.
    pub name: Arc<str>,
    /// Its digest.
    pub digest: TokenDigest,
    /// What its bearer may see.
    pub scope: Scope,
}

impl Tokens {
    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// Every malformed line.
    pub fn parse(_text: &str) -> Result<Self, Vec<LineError>> {
        Ok(Self::default())
    }

    /// The tokens.
    #[must_use]
    pub fn as_slice(&self) -> &[Token] {
        &self.0
    }
}
