//! One change at a time for who asks with a condition: look and change are one step against all other changes of the same thing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use vtl_api::{ApiError, ErrorCode};

use crate::daemon::lock;

/// A change with a condition waits so often, so long each time, for changes that are being made.
const LOOKS: u32 = 1000;
const LOOK: Duration = Duration::from_millis(10);

/// The things that are being changed, by the paths of their `GET`.
#[derive(Debug, Default)]
pub(super) struct Things(Mutex<HashMap<String, Weak<RwLock<()>>>>);

impl Things {
    fn of(&self, path: &str) -> Arc<RwLock<()>> {
        let mut known = lock(&self.0);
        known.retain(|_, thing| thing.strong_count() > 0);
        if let Some(thing) = known.get(path).and_then(Weak::upgrade) {
            return thing;
        }
        let thing = Arc::new(RwLock::new(()));
        known.insert(path.to_owned(), Arc::downgrade(&thing));
        thing
    }

    /// Changes a thing beside others that do.
    pub(super) fn beside<T>(&self, path: &str, change: impl FnOnce() -> T) -> T {
        let thing = self.of(path);
        let _held = thing.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        change()
    }

    /// Changes it alone.
    ///
    /// # Errors
    /// What `change` says, or that others take too long.
    pub(super) fn alone<T>(
        &self,
        path: &str,
        change: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let thing = self.of(path);
        for _ in 0..LOOKS {
            match thing.try_write() {
                Ok(_held) => return change(),
                Err(std::sync::TryLockError::Poisoned(held)) => {
                    let _held = held.into_inner();
                    return change();
                }
                Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            }
        }
        let message = format!("another request is changing {path}");
        Err(ApiError::new(ErrorCode::Conflict, message, "wait for its end, or ask without If-Match"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_change_with_a_condition_has_its_thing_alone_and_another_thing_is_not_held_up() {
        let (things, inside) = (Things::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (things, inside) = (&things, &inside);
                scope.spawn(move || {
                    let change = || {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, ApiError>(())
                    };
                    for _ in 0..50 {
                        match number % 2 {
                            0 => things.alone("/a", change).unwrap(),
                            _ => things.beside("/b", || things.alone("/a", change)).unwrap(),
                        }
                    }
                });
            }
        });
        assert!(lock(&things.0).len() <= 2);
        things.of("/c");
        assert_eq!(lock(&things.0).len(), 1, "what nobody holds is forgotten");
    }
}
