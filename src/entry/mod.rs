//! Entries as callers meet them: looked at, computed, removed.

pub(crate) mod compute;
pub(crate) mod entry_ref;
pub(crate) mod new_entry;
pub(crate) mod removal;
