//! The shard's invariants, checked after every step of the tests.

use std::collections::BTreeSet;

use super::Shard;
use super::eviction::counts::Counts;
use super::slot_id::SlotId;
use super::wheel::Timers;

impl<K, V> Shard<K, V> {
    /// Checks invariants 1 to 7, and that the statistics add up.
    pub(crate) fn check(&self) {
        let occupied: BTreeSet<_> = self.slots.ids().map(SlotId::index).collect();
        assert!(occupied.len() <= self.slots.capacity(), "invariant 4");
        assert_eq!(self.index.len(), occupied.len(), "invariant 1");
        for id in self.slots.ids() {
            let found = self.index.find(self.slots.slot_hash(id), |other| other == id);
            assert_eq!(found, Some(id), "invariant 1");
        }
        let linked = self.wheel.check(&self.slots);
        for id in self.slots.ids() {
            assert_eq!(linked.contains(&id.index()), self.slots.is_linked(id), "invariant 2");
        }
        assert!(linked.is_subset(&occupied), "invariant 2");
        self.policy.check(&occupied);
        if let Some(idle) = &self.idle {
            for id in self.slots.ids() {
                let end = idle.ttl_end(id);
                // A timer that is due becomes due now when the wheel catches up.
                let latest = end.max(self.wheel.elapsed());
                let in_time = linked.contains(&id.index())
                    && self.wheel.deadline_min(&self.slots, id) <= latest;
                assert!(in_time, "invariant 5: the TTL of {id:?} ends at {end}");
            }
        }
        if let Some(sizes) = &self.sizes {
            sizes.check(&occupied);
        }
        let stats = self.stats();
        assert_eq!(
            stats.inserts,
            stats.held + stats.expired + stats.evicted + stats.removed + stats.replaced
        );
    }
}
