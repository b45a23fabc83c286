//! Callers' code that panics: keys and values, in all of whose methods something may be
//! run, and panics injected there.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Returns what `call` returns, or what its panic carries.
pub fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(call))
}

/// Returns what the panic of `call` says, if there is one.
///
/// # Panics
///
/// If the panic carries no text.
pub fn message_of<R>(call: impl FnOnce() -> R) -> Option<String> {
    let panic = catch(call).err()?;
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    Some(text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a message"))
}

/// Panics as `panic!` does, without a word: the panic hook would print it.
pub fn panic_silently(payload: impl Any + Send) -> ! {
    resume_unwind(Box::new(payload))
}

// ---- Callers' code ----

/// The code of callers that a cache runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `Hash` of a key.
    Hash,
    /// `Eq` of a key.
    Eq,
    /// `Clone` of a key or a value.
    Clone,
    /// `Drop` of a key.
    DropKey,
    /// `Drop` of a value.
    DropValue,
    /// The listener.
    Listener,
    /// Any closure, iterator or clock.
    Closure,
}

impl Code {
    /// Returns whether it may panic several times in one call: the cache runs it when all
    /// else is done.
    pub fn runs_last(self) -> bool {
        matches!(self, Self::DropKey | Self::DropValue | Self::Listener)
    }
}

type Hook = Box<dyn FnMut(Code)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static NEXT_INSTANCE: Cell<u64> = const { Cell::new(0) };
    static ALIVE: RefCell<HashSet<u64>> = RefCell::new(HashSet::new());
}

/// Has [`run`] call this on this thread, but not from within itself.
pub fn set_hook(hook: impl FnMut(Code) + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

/// Undoes [`set_hook`].
pub fn remove_hook() {
    HOOK.set(None);
}

/// Puts a hook back, unless there is another one meanwhile.
struct PutBack(Option<Hook>);

impl Drop for PutBack {
    fn drop(&mut self) {
        HOOK.with_borrow_mut(|hook| *hook = hook.take().or(self.0.take()));
    }
}

/// Marks a piece of callers' code: runs what [`set_hook`] was given.
pub fn run(code: Code) {
    without_hook(|hook| {
        if let Some(hook) = hook {
            hook(code);
        }
    });
}

/// Runs `call` while the hook is out of the way.
pub fn without_hook<R>(call: impl FnOnce(Option<&mut Hook>) -> R) -> R {
    let mut hook = PutBack(HOOK.take());
    call(hook.0.as_mut())
}

/// Runs the same thing the first time that `code` runs. The cell tells when it has.
pub fn once(code: Code, call: impl FnOnce() + 'static) -> Rc<Cell<bool>> {
    let (has_run, mut call) = (Rc::new(Cell::new(false)), Some(call));
    let notes = has_run.clone();
    set_hook(move |found| {
        if let Some(call) = call.take_if(|_| found == code) {
            notes.set(true);
            call();
        }
    });
    has_run
}

// ---- Panics in it ----

/// What an injected panic carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The code that panics.
    pub code: Code,
    /// How many panics were still to come, this one included.
    pub number: u32,
}

/// Injects panics into this thread's callers' code, until it is dropped.
#[derive(Debug)]
pub struct Injector(Rc<Cell<u32>>);

impl Injector {
    /// Lets `passes` pieces of code pass, and makes the `panics` that follow panic. Those
    /// that `counts` is false for neither count nor panic.
    pub fn new(passes: u32, panics: u32, counts: fn(Code) -> bool) -> Self {
        let left = Rc::new(Cell::new(panics));
        let (mut passes, injects) = (passes, left.clone());
        set_hook(move |code| {
            if !counts(code) || injects.get() == 0 {
                return;
            }
            if passes > 0 {
                passes -= 1;
                return;
            }
            let number = injects.get();
            injects.set(number - 1);
            panic_silently(Injected { code, number });
        });
        Self(left)
    }

    /// Lets `passes` pieces of code pass, and makes the one after them panic.
    pub fn after(passes: u32) -> Self {
        Self::new(passes, 1, |_| true)
    }

    /// Returns how many panics are still to come.
    pub fn left(&self) -> u32 {
        self.0.get()
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        remove_hook();
    }
}

/// Returns the panic of `call`, if there is one.
///
/// # Panics
///
/// Passes on any other panic than an injected one.
pub fn injected<R>(call: impl FnOnce() -> R) -> Result<R, Injected> {
    catch(call).map_err(|panic| match panic.downcast_ref() {
        Some(injected) => *injected,
        None => resume_unwind(panic),
    })
}

// ---- Keys and values ----

/// Notes that it is made and that it is dropped, on one thread.
#[derive(Debug)]
struct Registered(u64);

impl Registered {
    fn new() -> Self {
        let number = NEXT_INSTANCE.replace(NEXT_INSTANCE.get() + 1);
        ALIVE.with_borrow_mut(|alive| assert!(alive.insert(number)));
        Self(number)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        ALIVE.with_borrow_mut(|alive| assert!(alive.remove(&self.0), "dropped twice"));
    }
}

/// Asserts that every key and value that this thread has made is dropped.
pub fn assert_none_alive() {
    ALIVE.with_borrow(|alive| assert!(alive.is_empty(), "leaked: {alive:?}"));
}

/// A number, all of whose methods are callers' code.
#[derive(Debug)]
pub struct Key(pub u64, #[expect(dead_code, reason = "for its drop")] Option<Registered>);

impl Key {
    /// Makes a key that [`assert_none_alive`] counts.
    pub fn new(number: u64) -> Self {
        Self(number, Some(Registered::new()))
    }
}

/// Returns keys that live as long as the thread, so that none is dropped in the caller
/// while a panic unwinds: a second panic there would end the process.
pub fn keys() -> &'static [Key; 8] {
    thread_local! {
        static KEYS: &'static [Key; 8] =
            Box::leak(Box::new(std::array::from_fn(|key| Key(key as u64, None))));
    }
    KEYS.with(|keys| *keys)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        run(Code::Hash);
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        run(Code::Eq);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Clone for Key {
    fn clone(&self) -> Self {
        run(Code::Clone);
        Self::new(self.0)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        run(Code::DropKey);
    }
}

/// A value, all of whose methods are callers' code.
#[derive(Debug)]
pub struct Value(#[expect(dead_code, reason = "for its drop")] Registered);

impl Value {
    /// Makes a value that [`assert_none_alive`] counts.
    pub fn new() -> Self {
        Self(Registered::new())
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        run(Code::Clone);
        Self::new()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        run(Code::DropValue);
    }
}
