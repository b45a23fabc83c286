#![doc = include_str!("../README.md")]

mod builder;
mod connect;
mod error;
mod keeper;
mod link;
mod load;
mod load_many;
mod local;
mod near_cache;
mod pushes;
mod server_ttl;
mod shared;
mod stats;

pub use builder::NearCacheBuilder;
pub use error::Error;
pub use near_cache::NearCache;
pub use redis;
pub use shared::WhileAway;
pub use stats::Stats;
