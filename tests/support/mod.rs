//! Gateways, clients and simulated upstreams that several tests share.

// Each test binary uses its own part of this module, and sees it as its own.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod authority;
pub mod captured_log;
pub mod client;
pub mod forward_proxy;
pub mod forward_receiver;
pub mod gateway;
pub mod h2_frames_upstream;
pub mod h2_upstream;
pub mod history_store;
pub mod identity_provider;
pub mod listing;
pub mod mapped_gateway;
pub mod metrics_page;
pub mod one_source;
pub mod postgres;
pub mod process;
pub mod protected_gateway;
pub mod reloadable;
pub mod scripted_stack;
pub mod scripted_upstream;
pub mod simulated_api;
pub mod simulated_upstream;
pub mod snapshot_gateway;
pub mod tcp_proxy;
pub mod tls_client;
pub mod tls_listener;
pub mod tokens;
pub mod views;
pub mod web_tools;
