//! What outlives a call: small values per backend that can be found again (root ids, server names), sealed at rest and shared by all
//! nodes. At most 1,000 keys; a value has at most 64 KiB. What only exists here does not belong here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, data, host};

/// The value of this key, if it is there and has not expired. One that an earlier version wrote and this one cannot read is none.
pub fn load<T: DeserializeOwned>(key: &str) -> Option<T> {
    loaded(key).map(|(value, _)| value)
}

/// The same, with the number of its last change.
pub fn loaded<T: DeserializeOwned>(key: &str) -> Option<(T, u64)> {
    let held = host::held(key)?;
    Some((data::json(&held.value).ok()?, held.change))
}

/// Keeps a value for so many milliseconds (absent: until removed).
pub fn store(key: &str, value: &impl Serialize, lives_ms: Option<u64>) -> Result<()> {
    host::hold(key, data::pack(value)?.as_bytes(), lives_ms)
}

/// Keeps a value if its last change is still this one (absent: if there is none); false if another call was faster.
pub fn swap(key: &str, value: &impl Serialize, lives_ms: Option<u64>, expected: Option<u64>) -> Result<bool> {
    host::swap(key, data::pack(value)?.as_bytes(), lives_ms, expected)
}

/// Forgets a key.
pub fn remove(key: &str) {
    host::forget(key);
}
