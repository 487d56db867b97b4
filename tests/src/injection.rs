//! System calls that another process is made to try, as if its own code had been taken over. Needs the right to trace it.

use std::fs;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A thread of another process, stopped while it sleeps in a system call, until this is dropped.
#[derive(Debug)]
pub struct Captive {
    thread: i32,
    /// What it goes on with.
    registers: libc::user_regs_struct,
}

impl Captive {
    /// Stops a thread, which must sleep in a system call.
    ///
    /// # Panics
    ///
    /// If there is no such thread, or it may not be traced.
    pub fn take(thread: u32) -> Self {
        let thread = i32::try_from(thread).unwrap();
        trace(libc::PTRACE_SEIZE, thread, std::ptr::null_mut());
        trace(libc::PTRACE_INTERRUPT, thread, std::ptr::null_mut());
        wait(thread);
        // SAFETY: it consists of numbers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        trace(libc::PTRACE_GETREGS, thread, (&raw mut registers).cast());
        Self { thread, registers }
    }

    /// Has the thread make a system call; returns what that returned, which is the negative number of an error if it failed.
    pub fn call(&self, number: libc::c_long, arguments: [u64; 6]) -> i64 {
        let mut registers = self.calling(number, arguments);
        trace(libc::PTRACE_SETREGS, self.thread, (&raw mut registers).cast());
        trace(libc::PTRACE_SINGLESTEP, self.thread, std::ptr::null_mut());
        wait(self.thread);
        trace(libc::PTRACE_GETREGS, self.thread, (&raw mut registers).cast());
        registers.rax.cast_signed()
    }

    /// Lets the thread go with a system call that may end its process. It takes what that returns for the result of the
    /// call in which it slept.
    pub fn let_go_with(self, number: libc::c_long, arguments: [u64; 6]) {
        let mut this = ManuallyDrop::new(self);
        this.registers = this.calling(number, arguments);
        let_go(this.thread, &mut this.registers);
    }

    /// Registers with which the thread makes a system call.
    fn calling(&self, number: libc::c_long, arguments: [u64; 6]) -> libc::user_regs_struct {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let rax = number.cast_unsigned();
        // The thread was stopped behind the instruction by which it called the system, which is two bytes long.
        let rip = self.registers.rip - 2;
        libc::user_regs_struct {
            rax,
            // Nothing is restarted.
            orig_rax: u64::MAX,
            rip,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.registers
        }
    }
}

impl Drop for Captive {
    fn drop(&mut self) {
        let_go(self.thread, &mut self.registers);
    }
}

fn let_go(thread: i32, registers: &mut libc::user_regs_struct) {
    trace(libc::PTRACE_SETREGS, thread, std::ptr::from_mut(registers).cast());
    trace(libc::PTRACE_DETACH, thread, std::ptr::null_mut());
}

fn trace(request: libc::c_uint, thread: i32, data: *mut ()) {
    // SAFETY: `data` is what the request asks for, or null.
    let done = unsafe { libc::ptrace(request, thread, std::ptr::null_mut::<()>(), data) };
    assert_eq!(done, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
}

fn wait(thread: i32) {
    // SAFETY: no memory is passed.
    let stopped = unsafe { libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) };
    assert_eq!(stopped, thread, "{}", std::io::Error::last_os_error());
}

/// Has the kernel kill every process of a command that makes this system call, as systemd's `SystemCallFilter` does.
pub fn kill_at(command: &mut Command, call: libc::c_long) {
    let step = |code: u32, jf, k| libc::sock_filter { code: code.try_into().unwrap(), jt: 0, jf, k };
    let mut steps = [
        // The number of the call comes first.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call.try_into().unwrap()),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = move || {
        let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        // SAFETY: the program lives throughout the call, and nothing else is passed.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: it makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(filter) };
}

/// True if the memory of a process that can be written has these bytes somewhere.
///
/// # Panics
///
/// If the process is gone, or its memory may not be read.
pub fn has_in_memory(process: u32, bytes: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut searched = 0;
    let found = maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        if !rights.starts_with("rw") {
            return false;
        }
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        // Some mappings, such as those of the kernel, cannot be read.
        if memory.read_exact_at(&mut content, from).is_err() {
            return false;
        }
        searched += content.len();
        content.windows(bytes.len()).any(|window| window == bytes)
    });
    assert!(found || searched > 1 << 20, "only {searched} bytes could be read");
    found
}
