//! Behaviour of the gateway as users, upstreams and operators see it. One binary, because linking
//! one for each file would take longer than running them.

#[path = "../support/mod.rs"]
mod support;

mod check;
mod check_connect;
mod cli;
mod conditions;
mod configuration;
mod credential_files;
mod current_service;
mod demo_upstream;
mod document;
mod events;
mod fetch_output;
mod files;
mod filters;
mod fixtures;
mod formats;
mod history;
mod history_page;
mod history_refreshes;
mod http2;
mod identities;
mod incremental;
mod jwt;
mod mapped;
mod mapped_formats;
mod openapi;
mod otlp;
mod overload;
mod page;
mod pages;
mod postgres_server;
mod readiness;
mod recipes;
mod reload;
mod scopes;
mod sign_in;
mod signals;
mod sources;
mod tls;
mod upstream_answers;
mod upstream_auth;
mod upstream_connections;
mod upstream_faults;
mod upstream_h2;
mod upstream_log;
mod upstream_oauth2;
mod upstream_pacing;
mod upstream_proxy;
mod upstream_rate_limits;
mod upstream_reload;
mod upstream_requests;
mod upstream_stack;
mod upstream_tls;
