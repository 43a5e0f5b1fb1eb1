//! Layer 3, signal. The one handler of the process, and what it writes to. Linux only.
//!
//! Owns a count for each signal, the actions that were installed before ours, and one eventfd. The handler counts the
//! signal and writes to the eventfd; each listener waits on a duplicate of it in the selector of its own runtime.
//! Nobody reads it: `epoll` with edge triggering reports every write to an eventfd, so each of any number of listeners
//! hears of each, and none can take another's. (A pipe, as tokio has it, is drained by whoever comes first, who must
//! then tell all others.) What is never taken back here: handlers stay installed, the eventfd stays open, and the
//! few bytes of each former action stay allocated, since a handler may be running on any thread at any time.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t};

use crate::shim::Mutex;
use crate::shim::Ordering::{AcqRel, Acquire, Release};
use crate::shim::shared::{AtomicPtr, AtomicUsize};

/// Signals are 1 to 64.
const SIGNALS: usize = 65;

/// Ends or stops the program whatever it does, or comes from an instruction that would run again at once.
const REFUSED: [c_int; 6] =
    [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

/// What came of each signal, and the action there was before ours (null: none yet).
struct Slot {
    count: AtomicUsize,
    before: AtomicPtr<libc::sigaction>,
}

static SLOTS: [Slot; SIGNALS] =
    [const { Slot { count: AtomicUsize::new(0), before: AtomicPtr::new(ptr::null_mut()) } }; SIGNALS];

/// Written by the handler. Set before the first handler is installed.
static EVENT: OnceLock<OwnedFd> = OnceLock::new();

/// For which signals our handler is installed; held while one is.
static INSTALLED: Mutex<[bool; SIGNALS]> = Mutex::new([false; SIGNALS]);

/// Makes sure that `signal` is handled, and gives a descriptor that is readable anew with each signal.
pub(super) fn listen(signal: c_int) -> io::Result<OwnedFd> {
    let index = usize::try_from(signal).ok().filter(|index| (1..SIGNALS).contains(index));
    let Some(index) = index.filter(|_| !REFUSED.contains(&signal)) else {
        let message =
            format!("signal {signal} cannot be listened for: there is none, or it cannot be survived");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let mut installed = INSTALLED.lock();
    let event = match EVENT.get() {
        Some(event) => event,
        None => {
            let event = eventfd()?;
            EVENT.get_or_init(|| event)
        }
    };
    let ours = event.try_clone()?;
    if !installed[index] {
        install(signal, &SLOTS[index])?;
        installed[index] = true;
    }
    Ok(ours)
}

/// How often `signal` has come.
pub(super) fn count(signal: c_int) -> usize {
    let slot = usize::try_from(signal).ok().and_then(|index| SLOTS.get(index));
    // Ordering: Acquire pairs with the Release in `handler`: what the interrupted program wrote before is visible.
    slot.map_or(0, |slot| slot.count.load(Acquire))
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the result is checked below.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn sigaction(signal: c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: a sigaction is made of integers, and all zero is its default.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or valid, `old` is valid, both for the call. Of the handler in `new`, see `install`.
    if unsafe { libc::sigaction(signal, new, &mut old) } == 0 {
        Ok(old)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Installs the handler. The action before is in the slot first, so that no signal in between passes it by.
fn install(signal: c_int, slot: &Slot) -> io::Result<()> {
    let before = sigaction(signal, None)?;
    let mut ours = before;
    ours.sa_sigaction = handler as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
    // The mask stays: the action before runs within ours and may count on it.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // Ordering: AcqRel: Release pairs with the Acquire in `handler`, which reads what the pointer points to.
    slot.before.swap(Box::into_raw(Box::new(before)), AcqRel);
    sigaction(signal, Some(&ours)).map(drop)
}

/// Async-signal-safe: atomics, `write`, and what the host chose to install before.
extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: gives the address of this thread's errno, always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    if let Some(slot) = usize::try_from(signal).ok().and_then(|index| SLOTS.get(index)) {
        // Ordering: Acquire pairs with the AcqRel in `install`.
        let before = slot.before.load(Acquire);
        // SAFETY: null, or from the `Box` that `install` leaked.
        if let Some(before) = unsafe { before.as_ref() } {
            call(before, signal, info, context);
        }
        // Ordering: Release pairs with the Acquire in `count`.
        slot.count.fetch_add(1, Release);
        if let Some(event) = EVENT.get() {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the descriptor is never closed, and `one` is eight valid bytes. The sum cannot overflow in the
            // life of a machine, so the write neither fails nor blocks.
            unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Calls the handler that was installed before ours, if it was a function.
fn call(before: &libc::sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Plain = extern "C" fn(c_int);
    type Info = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    let address = before.sa_sigaction;
    if address == libc::SIG_DFL || address == libc::SIG_IGN {
        return;
    }
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the kernel gave this address as a handler, and SA_SIGINFO says that it takes three arguments.
        let function = unsafe { std::mem::transmute::<usize, Info>(address) };
        function(signal, info, context);
    } else {
        // SAFETY: the kernel gave this address as a handler, and without SA_SIGINFO it takes one argument.
        let function = unsafe { std::mem::transmute::<usize, Plain>(address) };
        function(signal);
    }
}
