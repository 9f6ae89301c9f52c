use std::collections::HashMap;
use std::num::NonZeroU32;

use clap::Parser as _;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::demo::{Endpoint, Fault, Garbage};

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn parse(flags: &str) -> Result<Options, String> {
    let words = std::iter::once("demo-upstream").chain(flags.split_whitespace());
    let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
    Options::try_from(command.args).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(flags: &str, expected: &[&str]) {
    let error = parse(flags).unwrap_err();
    assert!(expected.iter().all(|expected| error.contains(expected)), "{flags}: {error}");
}

#[test]
fn without_flags_the_options_are_the_defaults() {
    let (options, expected) = (parse("").unwrap(), Options::default());
    assert_eq!(options.listen.to_string(), "127.0.0.1:9002");
    assert_eq!(options.username, expected.username);
    assert_eq!(options.password.expose_secret(), expected.password.expose_secret());
    assert_eq!(
        (options.data, options.latency, options.gzip),
        (expected.data, expected.latency, expected.gzip)
    );
    assert_eq!(
        [options.contention, options.jitter, options.fail].map(f64::to_bits),
        [expected.contention, expected.jitter, expected.fail].map(f64::to_bits)
    );
    assert!(options.faults.is_empty() && options.retry_after.is_none());
}

#[test]
fn numbers_durations_and_data_are_read() {
    let options =
        parse("--listen 127.0.0.1:0 --latency 1s500ms --contention 0 --retry-after 3 --gzip")
            .unwrap();
    assert_eq!((options.listen.port(), options.latency), (0, Duration::from_millis(1500)));
    assert_eq!((options.retry_after, options.gzip), (Some(3), true));

    let generated = |flags| parse(flags).unwrap().data;
    let plan = Plan { incidents: 1_000_000, employees: 40_000, seed: 0 };
    assert_eq!(generated("--incidents 1000000"), Data::Generated(plan));
    let plan = Plan { employees: 5, seed: 9, ..plan };
    assert_eq!(generated("--incidents 1000000 --employees 5 --seed 9"), Data::Generated(plan));
    assert_eq!(generated("--fixtures some/where"), Data::Directory("some/where".into()));
    assert_eq!(generated("--quirks"), Data::Fixtures);
    assert_eq!(generated("--seed 9"), Data::Live { seed: 9 });
}

#[test]
fn each_fault_applies_to_its_source() {
    let drops = |number| Fault::Drip(NonZeroU32::new(number).unwrap());
    for (flags, endpoint, expected) in [
        ("--hang denial", Endpoint::Denial, Fault::Hang),
        ("--stall denial", Endpoint::Denial, Fault::Stall),
        ("--cut-off identities", Endpoint::Identities, Fault::CutOff),
        ("--drip other", Endpoint::Other, drops(100)),
        ("--drip other=7", Endpoint::Other, drops(7)),
        ("--status misuse=503", Endpoint::Misuse, Fault::Status(StatusCode::SERVICE_UNAVAILABLE)),
        ("--garbage probing", Endpoint::Probing, Fault::Garbage(Garbage::Html)),
        ("--garbage probing=deep", Endpoint::Probing, Fault::Garbage(Garbage::Deep)),
        (
            "--redirect denial=http://127.0.0.1:1/?a=b",
            Endpoint::Denial,
            Fault::Redirect(HeaderValue::from_static("http://127.0.0.1:1/?a=b")),
        ),
        ("--empty denial", Endpoint::Denial, Fault::Empty),
        ("--endless denial", Endpoint::Denial, Fault::Endless),
        ("--bomb denial", Endpoint::Denial, Fault::Bomb),
        ("--flap denial", Endpoint::Denial, Fault::Flap),
    ] {
        let faults = parse(flags).unwrap().faults;
        assert_eq!(faults, HashMap::from([(endpoint, expected.clone())]), "{flags}");
        let flag = flags.split_whitespace().next().unwrap();
        assert_eq!(expected.flag(), flag);
    }
    let faults = parse("--hang denial --hang other --status misuse=429 --status probing=500")
        .unwrap()
        .faults;
    assert_eq!(faults.len(), 4);
}

#[test]
fn invalid_flags_are_refused_by_name() {
    assert_refused("--hang denail", &["--hang", "\"denail\"", "denial, intrusion"]);
    assert_refused("--status denail=500", &["--status", "\"denail\""]);
    assert_refused("--status denial", &["--status", "denial=503"]);
    assert_refused("--status denial=200", &["--status", "\"200\"", "201 to 599"]);
    assert_refused("--status denial=teapot", &["--status", "\"teapot\""]);
    assert_refused("--drip denial=0", &["--drip", "\"0\""]);
    assert_refused("--garbage denial=odd", &["--garbage", "\"odd\"", "utf8"]);
    assert_refused("--redirect denial", &["--redirect", "URL"]);
    assert_refused("--fail 1.5", &["--fail", "0 to 1"]);
    assert_refused("--jitter NaN", &["--jitter", "0 to 1"]);
    assert_refused("--contention -1", &["--contention", "from 0 up"]);
    assert_refused("--contention=inf", &["--contention", "from 0 up"]);
    assert_refused("--latency soon", &["--latency"]);
    assert_refused("--fixtures a --incidents 1", &["--fixtures", "--incidents"]);
    assert_refused("--quirks --incidents 1", &["--quirks", "--incidents"]);
    assert_refused("--quirks --fixtures a", &["--quirks", "--fixtures"]);
    assert_refused("--employees 5", &["--incidents"]);
    assert_refused("--incidents 1 --employees 0", &["--employees"]);
    assert_refused("--hang denial --status denial=500", &["--hang", "--status", "denial"]);
    assert_refused("--hang denial --hang denial", &["--hang", "denial twice"]);
}

#[test]
fn debug_output_does_not_contain_the_password() {
    let command = Command::try_parse_from(["demo-upstream", "--password", "hunter2"]).unwrap();
    assert!(!format!("{command:?}").contains("hunter2"));
    assert!(!format!("{:?}", Options::try_from(command.args).unwrap()).contains("hunter2"));
}
