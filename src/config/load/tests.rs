mod access;
mod errors;
mod layers;
mod mistakes;
mod secrets;
mod upstreams;

use super::*;

fn env(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn with_env(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load(&Overrides::default(), &env(variables))
}

/// The message that `text` as `config.yaml` gets.
fn refusal(text: &str) -> String {
    match from_yaml("config.yaml", text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors.to_string(),
    }
}

fn env_refusal(variables: &[(&str, &str)]) -> String {
    match with_env(variables) {
        Ok(_) => panic!("accepted: {variables:?}"),
        Err(errors) => errors.to_string(),
    }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}
