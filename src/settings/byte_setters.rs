//! The setters of both builders of caches of bytes.

/// Declares them, for structs with a field `typed`: the builder of a `Cache<(), (), S>`, which does
/// all that is not said here. The argument is the path of the cache, for the examples.
macro_rules! byte_setters {
    ($cache:literal) => {
        /// Changes what only caches of bytes are asked for.
        fn with_bytes(mut self, change: impl FnOnce(&mut ByteSettings)) -> Self {
            change(self.typed.settings.bytes.get_or_insert_default());
            self
        }

        /// Sets the most memory that the cache takes, in bytes: tables, keys and values. It uses at
        /// least 99 % of that if each shard has room for 200 entries of the mean size.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let cache = ByteCache::builder().memory_budget(64 << 20).mean_entry(240).build()?;
        /// let bytes = cache.footprint().total();
        /// assert!((64_000_000..=64 << 20).contains(&bytes));
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn memory_budget(mut self, bytes: usize) -> Self {
            self.typed = self.typed.memory_budget(bytes);
            self
        }

        /// Sets the mean size of an entry, key and value together, in bytes. It decides how many
        /// entries there can be: a quarter more than fit at that size.
        ///
        /// If unsure, give less: with twice the true mean there are half as many slots, and more
        /// than a third of the memory stays empty.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let cache = ByteCache::builder().memory_budget(64 << 20).mean_entry(1_000).build()?;
        /// assert!((70_000..80_000).contains(&cache.capacity()));
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn mean_entry(self, bytes: usize) -> Self {
            self.with_bytes(|settings| settings.mean_entry_bytes = bytes)
        }

        /// Sets how much of the memory for keys and values entries may fill, in percent: 50 to 98,
        /// 95 by default. The higher, the more entries are held, and the more are moved to make
        /// room.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = ByteCache::builder().memory_budget(64 << 20).mean_entry(240);
        /// let cache = builder.live_percent(98).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn live_percent(self, percent: usize) -> Self {
            self.with_bytes(|settings| settings.live_percent = percent)
        }

        /// Sets the TTL of what `insert` inserts, see [`Builder::ttl`](crate::Builder::ttl). Without
        /// one, such entries never expire.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.ttl(Duration::from_secs(1_800)).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "time_to_live")]
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.typed = self.typed.ttl(ttl);
            self
        }

        /// Shortens the builder's TTL by up to this fraction, by the key's hash, see
        /// [`Builder::ttl_jitter`](crate::Builder::ttl_jitter).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.ttl(Duration::from_secs(1_800)).ttl_jitter(0.1).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn ttl_jitter(mut self, fraction: f64) -> Self {
            self.typed = self.typed.ttl_jitter(fraction);
            self
        }

        /// Sets the time after its last use at which an entry expires, too, see
        /// [`Builder::time_to_idle`](crate::Builder::time_to_idle).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.time_to_idle(Duration::from_secs(600)).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "sliding expiration")]
        #[doc(alias = "expire_after_access")]
        pub fn time_to_idle(mut self, time: Duration) -> Self {
            self.typed = self.typed.time_to_idle(time);
            self
        }

        /// Sets the most by which an entry outlives its TTL, see
        /// [`Builder::resolution`](crate::Builder::resolution).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use std::time::Duration;
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.resolution(Duration::from_millis(10)).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn resolution(mut self, resolution: Duration) -> Self {
            self.typed = self.typed.resolution(resolution);
            self
        }

        /// Sets the policy that chooses what is evicted, see
        /// [`Builder::eviction`](crate::Builder::eviction).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        /// use punctual::Eviction;
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.eviction(Eviction::S3Fifo).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        #[doc(alias = "eviction_policy")]
        pub fn eviction(mut self, eviction: Eviction) -> Self {
            self.typed = self.typed.eviction(eviction);
            self
        }

        /// Sets the most due entries that one call frees besides its own work, see
        /// [`Builder::reap_limit`](crate::Builder::reap_limit).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let cache = builder.reap_limit(16).build()?;
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn reap_limit(mut self, entries: usize) -> Self {
            self.typed = self.typed.reap_limit(entries);
            self
        }

        /// Sets the number of shards. Best left to the cache; fewer shards make room for larger
        /// entries.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = ByteCache::builder().memory_budget(16 << 20).mean_entry(240);
        /// let cache = builder.shards(1).build()?;
        /// assert!(cache.entry_bytes_max() > 8_000_000);
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn shards(mut self, shards: usize) -> Self {
            self.typed = self.typed.shards(shards);
            self
        }

        /// Names the cache, see [`Builder::name`](crate::Builder::name).
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// assert_eq!(builder.name("pages").build()?.name(), Some("pages"));
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        pub fn name(mut self, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
            self.typed = self.typed.name(name);
            self
        }

        /// Returns the bytes that [`build`](Self::build) will request from the allocator, exactly,
        /// without requesting them.
        ///
        /// ```
        #[doc = concat!("use ", $cache, ";")]
        ///
        /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
        /// let footprint = builder.footprint()?;
        /// assert!(footprint.total() <= 1 << 20);
        /// assert_eq!(builder.build()?.footprint(), footprint);
        /// # Ok::<(), punctual::BuildError>(())
        /// ```
        ///
        /// # Errors
        ///
        /// Those of [`build`](Self::build).
        pub fn footprint(&self) -> Result<Footprint, BuildError> {
            self.typed.footprint()
        }
    };
}
pub(crate) use byte_setters;
