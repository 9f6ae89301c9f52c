//! The report of `check --body`, as a person sees it on the terminal.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::cli::command;

/// How a run of `check` ended.
pub(crate) struct Ran {
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails unless the report has this part.
    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        assert!(self.stdout.contains(part), "{part}\n---\n{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails if the output has this part.
    #[track_caller]
    pub(crate) fn hides(&self, part: &str) -> &Self {
        let Self { stdout, stderr, .. } = self;
        assert!(!stdout.contains(part) && !stderr.contains(part), "{part}\n---\n{stdout}{stderr}");
        self
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    let output = command(arguments, &[]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A configuration and files beside it.
struct Workshop {
    directory: TempDir,
}

const PEOPLE: &str = "id,mail,host,name\n1001,ada@corp.example,lt-ada,Ada Berg\n\
    1002,ben@corp.example,lt-ben,Ben Costa\n";

impl Workshop {
    /// A source `acme` of an upstream, with these keys, and a table of people in a file. The
    /// secret's file does not exist.
    fn new(keys: &str) -> Self {
        let workshop = Self { directory: tempfile::tempdir().unwrap() };
        let people = workshop.write("people.csv", PEOPLE);
        let config = format!(
            "upstreams:\n  acme:\n    base_url: https://acme.example\n    auth: {{ bearer: {{ \
             token_file: /nonexistent/token }} }}\nsources:\n  - name: acme\n    upstream: acme\n    \
             path: /v1/alerts\n{keys}identities:\n  - {{ file: {}, employee: id, email: mail, \
             hostname: host, name: name }}\n",
            people.display()
        );
        workshop.write("config.yaml", &config);
        workshop
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Checks a body of a source or table.
    fn body(&self, source: &str, body: &str) -> Ran {
        self.write("body.json", body);
        self.file(source, "body.json")
    }

    fn file(&self, source: &str, name: &str) -> Ran {
        let (config, path) = (self.path("config.yaml"), self.path(name));
        run(&["check", "--config", &config, "--source", source, "--body", &path])
    }
}

const KEYS: &str = "    records: /data
    id: /id
    priority: { at: /sev, values: { P1: critical } }
    timestamp: { at: /at }
    identity: [ { at: /actor/mail, as: email }, { at: /hosts, as: hostname } ]
    title: /title
    fail_if: [ /errors ]
";

#[test]
fn a_mapping_that_works_is_shown_to_work_without_credentials() {
    let body = r#"{"data":[
        {"id":1,"sev":"p1","at":"2026-03-02T11:00:00Z","actor":{"mail":"Ada@corp.example"},"title":"A"},
        {"id":2,"sev":"low","at":"2026-03-03 11:00:00.5+0100","actor":{"mail":"-"},
         "hosts":["x","LT-BEN.corp.example"],"title":"B"},
        {"id":2,"sev":"high","at":"2026-03-02T12:00:00Z","actor":{"mail":"eve@corp.example"},"title":"C"}
    ]}"#;
    let ran = Workshop::new(KEYS).body("acme", body);
    ran.exits(0)
        .says("answered      1 page, 2 records (1 duplicate dropped)")
        .says("\"p1\"    -> critical  1 record\n")
        .says("\"high\"  -> high      1 record\n")
        .says("earliest 2026-03-02 11:00:00 UTC, spelled \"2026-03-02T11:00:00Z\"")
        .says("latest   2026-03-02 12:00:00 UTC")
        .says("`/actor/mail` as email: 2 records with a value\n")
        .says("1 found in `identities`")
        .says("1 in no table, such as `eve@corp.example`\n")
        .says("attributed    1 record to 1 employee")
        .says("unattributed  1 unknown_identity: ")
        .says("of employee 1001 (Ada Berg) is answered as")
        .says(
            "{\"type\":\"acme\",\"priority\":\"critical\",\"timestamp\":1772449200.000000,\
             \"id\":\"1\",\"title\":\"A\",\"record\":{\"id\":1,\"sev\":\"p1\",",
        );
    assert_eq!(ran.stderr, "");
}

#[test]
fn what_maps_to_nothing_and_times_that_cannot_be_read_are_marked() {
    let record = |sev: &str, at: &str| format!(r#"{{"id":{at},"sev":{sev},"at":{at}}}"#);
    let records = [
        record("\"P2\"", "1772449200123"),
        record("\"P2\"", "\"2026-03-02 11:00:00\""),
        record("\"P3\\u001b[31m\"", "\"02/03/2026\""),
        record("\"P1\"", "\"2026-03-02T11:00:00Z\""),
        r#"{"id":"none"}"#.to_owned(),
    ];
    let ran = Workshop::new(KEYS).body("acme", &format!("{{\"data\":[{}]}}", records.join(",")));
    ran.exits(1)
        .says("!               \"P2\"            -> UNMAPPED  2 records\n")
        .says("\"P3\\u001b[31m\"  -> UNMAPPED  1 record\n")
        .says("1 record without a value -> UNMAPPED; set another path, or `default`")
        .says("remedy: add them to `values`, such as `\"P2\": …`")
        .says("1772449200123 is the year 58136 with `unit: s`; set `unit: ms`")
        .says("\"2026-03-02 11:00:00\" names no time zone; set `zone`")
        .says("\"02/03/2026\" is not in RFC 3339")
        .says("1 record INVALID: no value")
        .hides("\u{1b}");
    assert!(ran.stdout.starts_with("acme           INVALID"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "error: 1 of 1 source with records whose priority or time is invalid\n");
    // With `default` they are marked, but nothing is invalid.
    let keys = KEYS.replace("values:", "default: low, values:");
    let ran =
        Workshop::new(&keys).body("acme", r#"{"data":[{"sev":"P2","at":"2026-03-02T11:00:00Z"}]}"#);
    ran.exits(0).says("?               \"P2\"  -> low       1 record, UNMAPPED: `default`");
}

#[test]
fn many_values_that_map_to_nothing_are_marked_by_whether_there_is_a_default() {
    let records: Vec<_> = (0..23)
        .map(|value| format!(r#"{{"sev":"P{}","at":"2026-03-02T11:00:00Z"}}"#, value + 2))
        .collect();
    let body = format!("{{\"data\":[{}]}}", records.join(","));
    let rest = "and 3 more values that map to nothing";
    Workshop::new(KEYS)
        .body("acme", &body)
        .exits(1)
        .says(&format!("!               {rest}\n"))
        .says("or critical), or set `default`");
    let keys = KEYS.replace("values:", "default: low, values:");
    Workshop::new(&keys)
        .body("acme", &body)
        .exits(0)
        .says(&format!("?               {rest}: `default`\n"))
        .says("or critical)\n")
        .hides("or set `default`");
}

#[test]
fn a_table_in_which_nobody_can_be_found_is_told_with_the_reason() {
    let workshop = Workshop::new(KEYS);
    let body =
        r#"{"data":[{"sev":"P1","at":"2026-03-02T11:00:00Z","actor":{"mail":"a@x.example"}}]}"#;
    for (people, expected) in [
        (
            "id;mail;host\n1;a@x.example;h\n",
            "!               `identities`: no row has a value of `employee`: `id`: no such member; \
             there is `id;mail;host`\n",
        ),
        (
            "id,e-mail,host,name\n1,a@x.example,h,A\n",
            "!               `identities`: no row has a value of `email`: `mail`: no such member; \
             there are `id`, `e-mail`, `host`, `name`",
        ),
        ("id,mail,host,name\n", "!               `identities`: it has no rows\n"),
    ] {
        workshop.write("people.csv", people);
        workshop.body("acme", body).says("1 in no table, such as `a@x.example`").says(expected);
    }
    // A column without values is a fault only where values are looked up in it.
    for people in [PEOPLE, "id,mail,host,name\n1,b@x.example,,A\n"] {
        workshop.write("people.csv", people);
        workshop.body("acme", body).says("1 in no table").hides("`identities`: ");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_told_with_the_members_that_stand_there() {
    let body = r#"{"data":[{"id":"a","actor":{"alternateId":"ada@corp.example","displayName":"Ada","id":"u1"},
        "severity":"high","created":1772449200}]}"#;
    let ran = Workshop::new(KEYS).body("acme", body);
    ran.exits(1)
        .says("`/actor/mail`: no such member; there are `alternateId`, `displayName`, `id`")
        .says("`/sev`: no such member; there are `id`, `actor`, `severity`, `created`")
        .says("in the first record, look at `/severity` (\"high\")")
        .says("in the first record, look at `/created` (1772449200, unit: s)")
        .says("in the first record, look at `/actor/alternateId` (\"ada@corp.example\")")
        .says("attributed    0 records to 0 employees\n!               no record has an employee");
    // With a person, but no priority, another remedy is needed.
    Workshop::new(KEYS)
        .body("acme", r#"{"data":[{"sev":3,"actor":{"mail":"ada@corp.example"},"at":1772449200}]}"#)
        .exits(1)
        .says("remedy: set `at_least` if a larger number is worse")
        .hides("no record has an employee");
}

#[test]
fn an_answer_that_is_no_list_is_explained() {
    let workshop = Workshop::new(KEYS);
    workshop
        .body("acme", r#"{"meta":{},"result":{"items":[1,2]}}"#)
        .exits(1)
        .says("acme           FAILED (answer)")
        .says("`records` `/data`: no such member; there are `meta`, `result`")
        .says("arrays in the answer: `/result/items` (2 elements)");
    workshop
        .body("acme", r#"{"errors":[{"code":403,"message":"no"}],"data":[]}"#)
        .exits(1)
        .says("`fail_if` `/errors` is [{\"code\":403,\"message\":\"no\"}]");
    workshop
        .body("acme", "HTTP/1.1 200 OK\r\n\r\n{\"data\":[]}")
        .exits(1)
        .says("FAILED (decode)")
        .says("save the body alone");
    workshop.body("acme", "[{}]").exits(1).says("the answer itself is the list (1 element)");
    workshop.body("acme", r#"{"data":[]}"#).exits(0).says("no records: nothing can be said");
}

#[test]
fn signs_of_more_pages_are_told() {
    let record = r#"{"sev":"P1","at":"2026-03-02T11:00:00Z","actor":{"mail":"ada@corp.example"}}"#;
    let body = format!(r#"{{"data":[{record}],"paging":{{"next":"/v1/alerts?page=2"}}}}"#);
    Workshop::new(KEYS)
        .body("acme", &body)
        .exits(0)
        .says("if so, set `next: { url: /paging/next }`");
    let keys = format!("{KEYS}    next: {{ url: /pagin/next }}\n");
    Workshop::new(&keys)
        .body("acme", &body)
        .exits(0)
        .says("`/pagin/next`: no member `pagin`; there are `data`, `paging`");
}

#[test]
fn a_plain_source_and_tables_are_reported_alike() {
    let workshop = Workshop::new("    identity: who\n");
    let body = r#"{"results":[{"priority":"URGENT","timestamp":1772449200.5,"who":7},
        {"priority":"low","timestamp":"x","who":8}],"next":"/p2"}"#;
    workshop
        .body("acme", body)
        .exits(0)
        .says("\"URGENT\"  -> UNMAPPED  1 record")
        .says("`who`: 2 records with a value")
        .says("if so, set `next: { url: /next }`")
        .says("\"x\" is no number of seconds")
        .says("1 invalid_priority")
        .says("1 invalid_timestamp");
    workshop
        .file("identities", "people.csv")
        .exits(0)
        .says("keys          2 employees; 2 by email, 2 by hostname")
        .says("`mail`: 2 rows with a value")
        .says("{\"id\":\"1001\",\"mail\":\"ada@corp.example\"");
    workshop.write("other.csv", "id,e-mail\n1001,ada@corp.example\n1001,\n");
    workshop
        .file("identities", "other.csv")
        .exits(0)
        .says("`mail`: no such member; there are `id`, `e-mail`")
        .says("no key names an employee");
}

#[test]
fn each_path_of_a_list_is_told_with_the_records_that_it_is_used_for() {
    let keys = KEYS.replace("at: /actor/mail,", "at: [/actor/mail, /actor/upn, /old],");
    let workshop = Workshop::new(&keys);
    let record =
        |actor: &str| format!(r#"{{"sev":"low","at":"2026-03-02T11:00:00Z","actor":{{{actor}}}}}"#);
    let records = [
        record(r#""mail":"Ada@corp.example","upn":"ben@corp.example""#),
        record(r#""mail":["-",null],"upn":"ben@corp.example""#),
        record(r#""mail":"unknown","upn":["eve@corp.example","ada@corp.example"]"#),
        record(r#""mail":"eve@corp.example","upn":"ben@corp.example""#),
    ];
    workshop
        .body("acme", &format!("{{\"data\":[{}]}}", records.join(",")))
        .exits(0)
        .says(
            "`/actor/mail` as email: 2 records with a value\n                  1 found in \
             `identities`\n?                 1 in no table, such as `eve@corp.example`\n",
        )
        .says(
            "else `/actor/upn`: 2 records with a value\n                  2 found in \
             `identities`\n",
        )
        .says("else `/old`: 0 records with a value\n?               `/old`: no such member")
        .says("attributed    3 records to 2 employees")
        .says("unattributed  1 unknown_identity: ")
        .hides("look at `/actor");
    let config = fs::read_to_string(workshop.path("config.yaml")).unwrap();
    workshop.write("config.yaml", &config.replace("email: mail", "email: [mail, upn, login]"));
    workshop.write("other.csv", "id,mail,upn,host,name\n1,a@x.example,,h,A\n2,,b@x.example,h,B\n");
    workshop
        .file("identities", "other.csv")
        .exits(0)
        .says("`mail`, else `upn`, else `login`: 2 rows with a value\n?               `login`: no ")
        .says("keys          2 employees; 2 by email");
}

#[test]
fn a_source_of_files_is_read_from_the_given_file() {
    let workshop = Workshop::new(KEYS);
    workshop.write("gates.csv", "event,who\ne1,ada@corp.example\n");
    let gates = workshop.path("gates*.csv");
    let people = workshop.path("people.csv");
    let config = format!(
        "sources: [ {{ name: gates, file: '{gates}', id: event, priority: {{ default: low }}, \
         timestamp: {{ at: when, zone: UTC }}, identity: {{ at: who, as: email }} }} ]\n\
         identities: [ {{ file: '{people}', employee: id, email: mail }} ]\n"
    );
    workshop.write("config.yaml", &config);
    let config = workshop.path("config.yaml");
    run(&["check", "--config", &config, "--connect"])
        .exits(1)
        .says("answered      1 file, 1 record")
        .says("low (`default`) for every record")
        .says("`when`: no such member; there are `event`, `who`");
    workshop.write("[odd]*.csv", "event,who,when\ne1,ada@corp.example,2026-03-02 11:00:00\n");
    workshop
        .file("gates", "[odd]*.csv")
        .exits(0)
        .says("of employee 1001 is answered as")
        .says("earliest 2026-03-02 11:00:00 UTC");
}

#[test]
fn bad_usage_is_refused() {
    let workshop = Workshop::new(KEYS);
    workshop.write("body.json", "{}");
    let (config, body) = (workshop.path("config.yaml"), workshop.path("body.json"));
    let missing = workshop.path("missing.json");
    for (arguments, part) in [
        (&["--source", "acmee", "--body", &body][..], "no source `acmee`; did you mean `acme`?"),
        (&["--source", "zzzzzzz", "--body", &body], "there are `identities`, `acme`"),
        (&["--body", &body], "--source <NAME>"),
        (&["--source", "acme", "--body", &missing], "missing.json"),
        (&["--source", "acme", "--body", "/"], "it is a directory"),
        (&["--source", "acme", "--body", &body, "--connect"], "cannot be used with"),
        // The secret's file is missing.
        (&["--source", "acme", "--connect"], "/nonexistent/token"),
    ] {
        let arguments = [&["check", "--config", &config][..], arguments].concat();
        let ran = run(&arguments);
        ran.exits(2);
        assert!(ran.stderr.contains(part) && ran.stdout.is_empty(), "{part}: {}", ran.stderr);
    }
}
