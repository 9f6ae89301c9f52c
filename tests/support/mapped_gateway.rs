//! A gateway with sources of any shape, from the YAML of its upstreams, sources and identities.

use incident_gateway::config::{self, Config};
use serde_json::Value;

use super::gateway::Gateway;
use super::scripted_upstream::ScriptedUpstream;

/// The configuration of a gateway whose upstream `api` is this server. Sources are asked so often
/// that a test need not wait.
pub fn configuration(server: &ScriptedUpstream, rest: &str) -> Config {
    let base_url = server.base_url();
    let text = format!(
        "listen: 127.0.0.1:0\n\
         admin_listen: 127.0.0.1:0\n\
         response_budget: 300ms\n\
         cache: {{ ttl: 300ms }}\n\
         upstreams:\n  api:\n    base_url: {base_url}\n    retries: 0\n    max_body: 64KiB\n{rest}"
    );
    config::from_yaml("test.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// A gateway with this configuration.
pub fn start(server: &ScriptedUpstream, rest: &str) -> Gateway {
    Gateway::start(&configuration(server, rest))
}

/// A source in what `/sources` says.
pub fn source<'a>(sources: &'a Value, name: &str) -> &'a Value {
    let list = sources["sources"].as_array().unwrap();
    list.iter().find(|source| source["name"] == name).unwrap()
}

/// The ids of all records of a gateway, sorted.
pub async fn ids(gateway: &Gateway) -> Vec<String> {
    let document = gateway.get("/incidents").await.json();
    let employees = document.as_object().unwrap().values();
    let groups = employees.flat_map(|employee| employee.as_object().unwrap().values());
    let records = groups.flat_map(|group| group["incidents"].as_array().unwrap());
    let mut ids: Vec<_> = records.map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
