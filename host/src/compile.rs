//! Compiling: modules are hostile input for the compiler, so they are inspected first, and compiled in a child process
//! with limits.

mod child;
mod clean_context;
mod context_gate;
mod exchange;
mod functions;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::limits::REASON_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;
use wasmtime::Engine;

pub use child::run_child;
pub use functions::FunctionPack;
pub(crate) use functions::{PACKS_BYTES_MAX, PACKS_MAX};

use crate::child_process::{COMPILE, told_walls};
use crate::compile::exchange::{CompileReply, CompileRequest, REPLY_BYTES_MAX};
use crate::lockdown::Walls;
use crate::sandbox::{CodeForm, Compiled, engine};

/// Where modules are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In a child process: `program` run with `argument`, which must call [`run_child`].
    Child {
        /// The program to run; normally this one.
        program: PathBuf,
        /// The first argument of the program.
        argument: String,
    },
    /// In this process, without these limits: only for a program that runs no modules but its own.
    InProcess,
}

/// Why a module could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler refuses the module: the module's author must act.
    #[error("the compiler refuses the module: {0}")]
    Refused(String),
    /// Compiling exceeded a limit, or the compiler failed: the module's author must act.
    #[error("compiling the module took more than {COMPILE_TIME_MAX:?} or {mib} MiB: {0}", mib = COMPILE_BYTES_MAX >> 20)]
    Limit(String),
    /// The child process could not be run: the host's operator must act.
    #[error("the compiler cannot be run: {0}")]
    Unavailable(String),
}

/// What compiling a module brought.
pub struct Compilation {
    /// The module's code.
    pub code: Compiled,
    /// The functions that were compiled, for later modules of the same publisher: it may be anything that whoever wrote
    /// the module wanted, if they have taken the compiler. Empty if no functions were to be reused.
    pub new: FunctionPack,
    /// The number of functions that were not compiled, because they were known.
    pub reused: u32,
    /// A bit for each pack of known functions that was of use, the first pack's lowest.
    pub used: u64,
}

/// Processor time of one compilation, of all its threads together: one minute. A Python component of 18 MB takes 20 s
/// at most.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(60);

/// Wall-clock time of one compilation: four times the processor time, for a machine that is busy with guests.
const COMPILE_WALL_TIME_MAX: Duration = Duration::from_secs(240);

/// Address space of a compilation, the functions that it knows included: 2 GiB. A compilation bomb of 273 KiB that passed inspection in a trial took 556 MiB.
const COMPILE_BYTES_MAX: u64 = 2 << 30;

/// Length of compiled code: 1 GiB, 16 times the longest module.
const COMPILED_BYTES_MAX: u64 = 1 << 30;

/// Room of the pipe from a child: tens of megabytes pass through it, and with the 64 KiB of an ordinary pipe the two
/// processes wake each other for each.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// The child's exit code if the compiler refuses the module.
const EXIT_REFUSED: i32 = 3;

impl CompileError {
    /// The compiler does not support this machine.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn unavailable(error: wasmtime::Error) -> Self {
        Self::Unavailable(format!("{error:#}"))
    }
}

impl Compiler {
    /// A compiler that runs the present program as a child process, with `argument`.
    ///
    /// # Errors
    ///
    /// [`CompileError::Unavailable`] if the system does not tell the path of the program.
    pub fn child(argument: &str) -> Result<Self, CompileError> {
        let program =
            std::env::current_exe().map_err(|error| CompileError::Unavailable(error.to_string()))?;
        Ok(Self::Child { program, argument: argument.to_owned() })
    }

    /// A compiler that runs `program`, which must be `grid` or `grid-host`, as a child process; in this process if there is
    /// none.
    pub fn by(program: Option<PathBuf>) -> Self {
        let child = |program| Self::Child { program, argument: COMPILE.to_owned() };
        program.map_or(Self::InProcess, child)
    }

    /// The walls that stand around a compilation on this machine: has a child process build them, as for a module, and tell.
    ///
    /// # Errors
    ///
    /// [`CompileError::Unavailable`] if the child cannot be run, or cannot build them: then no module is compiled here
    /// either; or if this compiler has no child.
    pub async fn walls(&self) -> Result<Walls, CompileError> {
        let Self::Child { program, argument } = self else {
            return Err(CompileError::Unavailable("modules are compiled in this process".to_owned()));
        };
        let told = told_walls(program, argument).await;
        told.map_err(|error| CompileError::Unavailable(error.to_string()))
    }

    /// Compiles a module into code of this form. The caller must have had it accepted by
    /// [`inspect`](grid_inspect::inspect).
    ///
    /// A child is given `known` functions, those of earlier modules of the same publisher, and returns the others that it
    /// compiled; with `None` it does neither, and neither does a compiler without a child.
    ///
    /// # Errors
    ///
    /// [`CompileError`], whose variant says who must act.
    pub async fn compile(
        &self,
        wasm: Bytes,
        form: CodeForm,
        known: Option<Vec<FunctionPack>>,
    ) -> Result<Compilation, CompileError> {
        let reply = match self {
            Self::Child { program, argument } => {
                let child = compile_in_child(program, argument, form, CompileRequest { wasm, known });
                let limit = |_| CompileError::Limit(format!("no answer for {COMPILE_WALL_TIME_MAX:?}"));
                timeout(COMPILE_WALL_TIME_MAX, child).await.map_err(limit)??
            }
            Self::InProcess => {
                let compiled = tokio::task::spawn_blocking(move || compile_here(&wasm, form)).await;
                let code = compiled.map_err(|error| CompileError::Limit(error.to_string()))??;
                CompileReply { code, ..CompileReply::default() }
            }
        };
        let CompileReply { code, reused, used, new } = reply;
        // SAFETY: our own compiler wrote these bytes just now, here or in a child that runs our own program.
        let code = unsafe { Compiled::vouch(code) };
        Ok(Compilation { code, new, reused, used })
    }
}

/// Compiles in a child process.
async fn compile_in_child(
    program: &Path,
    argument: &str,
    form: CodeForm,
    request: CompileRequest,
) -> Result<CompileReply, CompileError> {
    let answered = run(program, [argument, &form.to_argument()], request).await;
    answered.map_err(|error| CompileError::Unavailable(error.to_string()))?.map_err(|ended| {
        let ChildEnded { status, said } = ended;
        match status.code() {
            Some(0) => {
                CompileError::Limit(format!("no answer of {REPLY_BYTES_MAX} bytes at most that makes sense"))
            }
            Some(EXIT_REFUSED) => CompileError::Refused(said),
            _ => CompileError::Limit(if said.is_empty() { status.to_string() } else { said }),
        }
    })
}

/// How a child process ended that has not answered, and what it said.
struct ChildEnded {
    status: std::process::ExitStatus,
    said: String,
}

/// Runs the child process with this second argument and this input, until it has answered or ended.
async fn run(
    program: &Path,
    words: [&str; 2],
    input: CompileRequest,
) -> std::io::Result<Result<CompileReply, ChildEnded>> {
    let mut child = Command::new(program)
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(std::io::Error::other("the child has no pipes"));
    };
    #[cfg(target_os = "linux")]
    // The pipes of a user may hold 64 MiB altogether, unless the system says otherwise; beyond that it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
    let feed = async move {
        // Ignored: if the child dies before it has read everything, its exit status tells why.
        let mut fed = stdin.write_all(&input.head()).await;
        for part in input.parts() {
            if fed.is_ok() {
                fed = stdin.write_all(part).await;
            }
        }
    };
    // By a task of its own, which ends with the child: what it says must not keep it from answering.
    let said = tokio::spawn(async move {
        let mut said = Vec::new();
        // Ignored: what was read until then is better than nothing.
        let _ = stderr.take(REASON_BYTES_MAX as u64).read_to_end(&mut said).await;
        said
    });
    let mut written = Vec::new();
    let mut stdout = stdout.take(REPLY_BYTES_MAX + 1);
    let (_, read) = tokio::join!(feed, stdout.read_to_end(&mut written));
    read?;
    if let Some(reply) = CompileReply::from_bytes(written.into()) {
        // How it ends does not matter any more, and its memory takes a while to be given back.
        return Ok(Ok(reply));
    }
    let said = String::from_utf8_lossy(&said.await.unwrap_or_default()).trim().to_owned();
    Ok(Err(ChildEnded { status: child.wait().await?, said }))
}

/// A hash of everything that compiled code of this form depends on, by which
/// [`CompiledCache`](crate::compiled::CompiledCache) finds it.
///
/// # Errors
///
/// [`CompileError::Unavailable`] if the compiler does not support this machine.
pub fn compatibility(form: CodeForm) -> Result<u64, CompileError> {
    form.compatibility().map_err(CompileError::unavailable)
}

fn compile_here(wasm: &[u8], form: CodeForm) -> Result<Bytes, CompileError> {
    let engine = engine::compiler(form).map_err(CompileError::unavailable)?;
    compile_with(&engine, wasm)
}

fn compile_with(engine: &Engine, wasm: &[u8]) -> Result<Bytes, CompileError> {
    let compiled = if grid_inspect::is_component(wasm) {
        engine.precompile_component(wasm)
    } else {
        engine.precompile_module(wasm)
    };
    compiled.map(Bytes::from).map_err(|error| CompileError::Refused(format!("{error:#}")))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A compiler whose child is a shell with this script.
    fn shell(folder: &Path, script: &str) -> Compiler {
        let path = folder.join("script");
        std::fs::write(&path, script).unwrap();
        Compiler::Child { program: "/bin/sh".into(), argument: path.to_str().unwrap().to_owned() }
    }

    /// Bytes as the shell's `printf` takes them.
    fn in_octal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
    }

    async fn answer(compiler: Compiler) -> Result<Compilation, CompileError> {
        compiler.compile(Bytes::from_static(b"wasm"), CodeForm::SHARED, None).await
    }

    #[tokio::test]
    async fn a_child_that_has_answered_and_does_not_end_is_taken_at_its_word_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let head = in_octal(&CompileReply::head(4, 0, 2, 1));
        let script = format!("echo $$ > {}; printf '{head}code'; exec >&-; sleep 600", pid.display());
        let began = Instant::now();
        let compiled = answer(shell(folder.path(), &script)).await.unwrap();
        assert_eq!((&compiled.code.bytes()[..], compiled.reused, compiled.used), (&b"code"[..], 2, 1));
        assert!(began.elapsed() < Duration::from_secs(60));
        let process = Path::new("/proc").join(std::fs::read_to_string(pid).unwrap().trim());
        // Until it is reaped, which the runtime does when it is told that a child has ended.
        while process.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "it goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_says_more_than_anybody_reads_is_heard_and_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3";
        let refused = answer(shell(folder.path(), script)).await.map(|_| ());
        let Err(CompileError::Refused(said)) = refused else { panic!("{refused:?}") };
        assert_eq!(said, "x".repeat(REASON_BYTES_MAX));
    }

    #[tokio::test]
    async fn a_child_that_is_killed_in_the_middle_of_its_answer_has_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let head = in_octal(&CompileReply::head(5, 0, 0, 0));
        let ended =
            answer(shell(folder.path(), &format!("printf '{head}code'; kill -9 $$"))).await.map(|_| ());
        assert!(matches!(&ended, Err(CompileError::Limit(why)) if why.contains("signal: 9")), "{ended:?}");
    }
}
