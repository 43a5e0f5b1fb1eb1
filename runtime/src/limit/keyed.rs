//! Layer 3, limit. `Keyed`: a limiter for each user, address or host.
//!
//! Owns the map from keys to limiters, and when those that are as good as new are thrown out of it: each time
//! the map has doubled, so that it costs an insertion a constant, and no task has to run. The map is by hash:
//! keys are hashed, compared, cloned and dropped with no lock held. Called by users.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::panic::Location;

use super::acquire::AcquireMany;
use super::error::KeyedError;
use super::pace::Pace;
use super::paced::Paced;
use crate::shim::{Arc, Mutex};
use crate::time::Duration;

/// The map is not looked through while it has fewer entries.
const SWEEP_MIN: usize = 64;

/// A [`RateLimiter`](super::RateLimiter) or [`TokenBucket`](super::TokenBucket) for each key.
///
/// A key gets its limiter when it is first used, and loses it when that is idle: nobody waits for it, nothing
/// counts any more, and no penalty lasts. As it is then like a new one, nobody can tell. Idle limiters are
/// looked for whenever their number has doubled, by whoever brings a new key; so the map is at most twice as
/// large as what was in use at the last look. [`max_keys`](Self::max_keys) bounds that, too.
///
/// # Examples
/// ```
/// use filch::limit::{Keyed, RateLimiter};
/// use filch::time::Duration;
///
/// # filch::run(async {
/// let users = Keyed::new(|_: &String| RateLimiter::new(2, Duration::from_secs(60)));
/// users.acquire("ann").await.unwrap();
/// users.acquire("ann").await.unwrap();
/// assert!(users.try_acquire("ann").is_err());
/// assert!(users.try_acquire("bob").is_ok());
/// # });
/// ```
pub struct Keyed<K, P> {
    make: Box<Make<K, P>>,
    hasher: RandomState,
    map: Mutex<Map<K, P>>,
    keys_max: usize,
}

type Make<K, P> = dyn Fn(&K) -> Paced<P> + Send + Sync;

struct Map<K, P> {
    /// By hash. Two keys of the same hash, if ever there are, make a chain.
    entries: HashMap<u64, Arc<Entry<K, P>>, BuildHasherDefault<Hashed>>,
    /// How many entries there are when idle ones are looked for.
    sweep_at: usize,
}

// In this order: what a call looks at lies together.
#[repr(C)]
struct Entry<K, P> {
    key: K,
    paced: Paced<P>,
    next: Option<Arc<Entry<K, P>>>,
}

impl<K, P> Entry<K, P> {
    /// The entry of `key`, in the chain from here.
    #[inline]
    fn find<Q: Eq + ?Sized>(self: &Arc<Self>, key: &Q) -> Option<&Arc<Self>>
    where
        K: Borrow<Q>,
    {
        let mut entry = self;
        while entry.key.borrow() != key {
            entry = entry.next.as_ref()?;
        }
        Some(entry)
    }
}

impl<K, P: Pace> Keyed<K, P> {
    /// A limiter for each key, which `make` makes: the same for all, or as the key deserves.
    pub fn new(make: impl Fn(&K) -> Paced<P> + Send + Sync + 'static) -> Keyed<K, P> {
        let map = Map { entries: HashMap::default(), sweep_at: SWEEP_MIN };
        Keyed { make: Box::new(make), hasher: RandomState::new(), map: Mutex::new(map), keys_max: usize::MAX }
    }

    /// Refuses new keys while so many are in use, so that nobody can fill the memory by making up keys.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::{Keyed, KeyedError, RateLimiter};
    /// use filch::time::Duration;
    ///
    /// let few = Keyed::new(|_: &u32| RateLimiter::new(1, Duration::from_secs(60))).max_keys(2);
    /// assert!(few.try_acquire(&1).is_ok());
    /// assert!(few.try_acquire(&2).is_ok());
    /// assert_eq!(few.try_acquire(&3), Err(KeyedError::TooManyKeys(2)));
    /// ```
    #[must_use]
    pub fn max_keys(mut self, max: usize) -> Keyed<K, P> {
        self.keys_max = max;
        self
    }

    /// How many keys have a limiter now, idle ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.lock().entries.len()
    }

    /// Whether no key has a limiter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Throws out the limiters that are idle now; returns how many. There is no need to call this.
    pub fn evict_idle(&self) -> usize {
        let mut map = self.map.lock();
        let idle = map.sweep();
        drop(map);
        // Keys are dropped here, without the lock.
        idle.len()
    }

    /// Waits until one of this key may pass.
    ///
    /// # Errors
    /// [`KeyedError::TooManyKeys`] at once.
    ///
    /// # Panics
    /// When it has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[track_caller]
    pub fn acquire<Q>(&self, key: &Q) -> impl Future<Output = Result<(), KeyedError>> + use<Q, K, P>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.acquire_many(key, 1)
    }

    /// Waits until `n` of this key may pass together.
    ///
    /// # Errors
    /// [`KeyedError`] at once, when there are too many keys, or so many can never pass together.
    ///
    /// # Panics
    /// When it has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[track_caller]
    pub fn acquire_many<Q>(
        &self,
        key: &Q,
        n: usize,
    ) -> impl Future<Output = Result<(), KeyedError>> + use<Q, K, P>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let location = Location::caller();
        let entry = self.entry(key);
        async move {
            let entry = entry?;
            let passed = AcquireMany::new(&entry.paced, n, location).await;
            passed.map_err(|error| KeyedError::Limited(error.into()))
        }
    }

    /// Passes if one of this key may now, and nobody of this key waits.
    ///
    /// # Errors
    /// [`KeyedError`] says when to try again, if that is known.
    pub fn try_acquire<Q>(&self, key: &Q) -> Result<(), KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Ok(self.entry(key)?.paced.try_acquire()?)
    }

    /// Passes if `n` of this key may now, together, and nobody of this key waits.
    ///
    /// # Errors
    /// [`KeyedError`] says when to try again, if that is known, or that so many never can.
    pub fn try_acquire_many<Q>(&self, key: &Q, n: usize) -> Result<(), KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Ok(self.entry(key)?.paced.try_acquire_many(n)?)
    }

    /// Blocks this thread until one of this key may pass.
    ///
    /// # Errors
    /// [`KeyedError::TooManyKeys`] at once.
    pub fn acquire_blocking<Q>(&self, key: &Q) -> Result<(), KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.entry(key)?.paced.acquire_blocking();
        Ok(())
    }

    /// Lets nobody of this key pass before `wait` from now.
    ///
    /// # Errors
    /// [`KeyedError::TooManyKeys`].
    pub fn penalize<Q>(&self, key: &Q, wait: Duration) -> Result<(), KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.entry(key)?.paced.penalize(wait);
        Ok(())
    }

    /// The limiter of `key`, there already or made now.
    #[inline]
    fn entry<Q>(&self, key: &Q) -> Result<Arc<Entry<K, P>>, KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let chain = self.map.lock().entries.get(&hash).cloned();
        match chain {
            // The usual case, without a second count of references.
            Some(chain) if chain.key.borrow() == key => Ok(chain),
            chain => self.insert(hash, key, chain),
        }
    }

    #[cold]
    fn insert<Q>(
        &self,
        hash: u64,
        key: &Q,
        mut chain: Option<Arc<Entry<K, P>>>,
    ) -> Result<Arc<Entry<K, P>>, KeyedError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        loop {
            if let Some(entry) = chain.as_ref().and_then(|chain| chain.find(key)) {
                return Ok(entry.clone());
            }
            let key = key.to_owned();
            let paced = (self.make)(&key);
            let entry = Arc::new(Entry { key, paced, next: chain.clone() });
            let mut map = self.map.lock();
            let now = map.entries.get(&hash).cloned();
            let is_as_seen = match (&now, &chain) {
                (None, None) => true,
                (Some(now), Some(chain)) => Arc::ptr_eq(now, chain),
                _ => false,
            };
            if !is_as_seen {
                // Another was quicker; what it made is looked at in the next turn.
                drop(map);
                chain = now;
                continue;
            }
            let full = map.entries.len() >= map.sweep_at.min(self.keys_max);
            let idle = if full { map.sweep() } else { Vec::new() };
            let has_room = map.entries.len() < self.keys_max;
            if has_room {
                map.entries.insert(hash, entry.clone());
            }
            drop(map);
            // Keys are dropped here, without the lock.
            drop((idle, now, chain));
            return if has_room { Ok(entry) } else { Err(KeyedError::TooManyKeys(self.keys_max)) };
        }
    }
}

impl<K, P: Pace> Map<K, P> {
    /// Takes out what is idle.
    fn sweep(&mut self) -> Vec<Arc<Entry<K, P>>> {
        let mut idle = Vec::new();
        self.entries.retain(|_, entry| {
            // Entries get out of the map by its lock only, so what is not in use now is not about to be.
            let keep = Arc::strong_count(entry) > 1 || entry.next.is_some() || !entry.paced.is_idle();
            if !keep {
                idle.push(entry.clone());
            }
            keep
        });
        self.sweep_at = SWEEP_MIN.max(2 * self.entries.len());
        self.entries.shrink_to(self.sweep_at);
        idle
    }
}

impl<K, P> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.map.lock().entries.len()).finish_non_exhaustive()
    }
}

/// What has been hashed already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the map is by hash")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
