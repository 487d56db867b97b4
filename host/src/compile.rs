//! Compiling: modules are hostile input for the compiler, so they are inspected first, and compiled in a child process
//! with limits.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::limits::{MODULE_BYTES_MAX, REASON_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::lockdown::{self, Walls};
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

/// Processor time of one compilation: one minute. A Python component of 18 MB takes 8 s.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(60);

/// Wall-clock time of one compilation: four times the processor time, for a machine that is busy with guests.
const COMPILE_WALL_TIME_MAX: Duration = Duration::from_secs(240);

/// Address space of a compilation: 2 GiB. A compilation bomb of 273 KiB that passed inspection in a trial took 556 MiB.
const COMPILE_BYTES_MAX: u64 = 2 << 30;

/// Length of compiled code: 1 GiB, 16 times the longest module.
const COMPILED_BYTES_MAX: u64 = 1 << 30;

/// The second argument of a child that is to tell its walls, and compile nothing.
const WALLS: &str = "walls";

/// Wall-clock time of that: it starts a program and ends it.
const WALLS_TIME_MAX: Duration = Duration::from_secs(5);

/// The child's exit code if the compiler refuses the module.
const EXIT_REFUSED: i32 = 3;

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
        let child = |program| Self::Child { program, argument: crate::child_process::COMPILE.to_owned() };
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
        let unavailable = |why: String| CompileError::Unavailable(why);
        let ended = timeout(WALLS_TIME_MAX, child(program, [argument, WALLS], &[])).await;
        let ended = ended.map_err(|_| unavailable(format!("no answer for {WALLS_TIME_MAX:?}")))?;
        let ended = ended.map_err(|error| unavailable(error.to_string()))?;
        let told = std::str::from_utf8(&ended.written).ok().and_then(Walls::from_line);
        told.filter(|_| ended.status.success()).ok_or_else(|| {
            unavailable(if ended.said.is_empty() { ended.status.to_string() } else { ended.said })
        })
    }

    /// Compiles a module into code of this form. The caller must have had it accepted by
    /// [`inspect`](grid_inspect::inspect).
    ///
    /// # Errors
    ///
    /// [`CompileError`], whose variant says who must act.
    pub async fn compile(&self, wasm: Bytes, form: CodeForm) -> Result<Compiled, CompileError> {
        let compiled = match self {
            Self::Child { program, argument } => {
                let child = compile_in_child(program, argument, form, &wasm);
                let limit = |_| CompileError::Limit(format!("no answer for {COMPILE_WALL_TIME_MAX:?}"));
                timeout(COMPILE_WALL_TIME_MAX, child).await.map_err(limit)??
            }
            Self::InProcess => {
                let compiled = tokio::task::spawn_blocking(move || compile_here(&wasm, form)).await;
                compiled.map_err(|error| CompileError::Limit(error.to_string()))??
            }
        };
        // SAFETY: our own compiler wrote these bytes just now, here or in a child that runs our own program.
        Ok(unsafe { Compiled::vouch(compiled) })
    }
}

/// What a child process left behind.
struct ChildOutput {
    status: std::process::ExitStatus,
    written: Vec<u8>,
    said: String,
}

/// Runs the child process with this second argument and this input, to its end.
async fn child(program: &Path, words: [&str; 2], input: &[u8]) -> std::io::Result<ChildOutput> {
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
    let feed = async move {
        // Ignored: if the child dies before it has read everything, its exit status tells why.
        let _ = stdin.write_all(input).await;
    };
    let (mut written, mut said) = (Vec::new(), Vec::new());
    let mut stdout = stdout.take(COMPILED_BYTES_MAX);
    let mut stderr = stderr.take(REASON_BYTES_MAX as u64);
    let (_, read, _) = tokio::join!(feed, stdout.read_to_end(&mut written), stderr.read_to_end(&mut said));
    read?;
    let status = child.wait().await?;
    Ok(ChildOutput { status, written, said: String::from_utf8_lossy(&said).trim().to_owned() })
}

async fn compile_in_child(
    program: &Path,
    argument: &str,
    form: CodeForm,
    wasm: &[u8],
) -> Result<Bytes, CompileError> {
    let ended = child(program, [argument, &form.to_argument()], wasm).await;
    let ChildOutput { status, written: compiled, said } =
        ended.map_err(|error| CompileError::Unavailable(error.to_string()))?;
    match status.code() {
        Some(0) if compiled.len() as u64 == COMPILED_BYTES_MAX => {
            Err(CompileError::Limit(format!("compiled code of {COMPILED_BYTES_MAX} bytes")))
        }
        Some(0) => Ok(compiled.into()),
        Some(EXIT_REFUSED) => Err(CompileError::Refused(said)),
        _ => Err(CompileError::Limit(if said.is_empty() { status.to_string() } else { said })),
    }
}

/// A hash of everything that compiled code of this form depends on, by which
/// [`CompiledCache`](crate::compiled::CompiledCache) finds it.
///
/// # Errors
///
/// [`CompileError::Unavailable`] if the compiler does not support this machine.
pub fn compatibility(form: CodeForm) -> Result<u64, CompileError> {
    form.compatibility().map_err(|error| CompileError::Unavailable(format!("{error:#}")))
}

fn compiler(form: CodeForm) -> Result<wasmtime::Engine, CompileError> {
    engine::compiler(form).map_err(|error| CompileError::Unavailable(format!("{error:#}")))
}

fn compile_here(wasm: &[u8], form: CodeForm) -> Result<Bytes, CompileError> {
    let engine = compiler(form)?;
    let compiled = if grid_inspect::is_component(wasm) {
        engine.precompile_component(wasm)
    } else {
        engine.precompile_module(wasm)
    };
    compiled.map(Bytes::from).map_err(|error| CompileError::Refused(format!("{error:#}")))
}

/// Runs the child process: reads a module from standard input and writes compiled code to standard output.
///
/// Limits itself first: processor time and address space on Unix; on Linux also no files, no network and no other
/// programs. If its second argument asks for that, it tells its walls instead of compiling. Returns the exit code, which
/// the caller's `main` must return.
pub fn run_child() -> u8 {
    let said = |message: &str| {
        // If standard error fails, too, there is no other way to report.
        let _ = writeln!(std::io::stderr(), "{message}");
    };
    let walls = match limit_self() {
        Ok(walls) => walls,
        Err(error) => {
            said(&format!("the compiler cannot limit itself: {error}"));
            return 1;
        }
    };
    // Read only after the limits are set, although this host's own process wrote it.
    let told = std::env::args_os().nth(2);
    if told.as_ref().is_some_and(|told| told == WALLS) {
        return u8::from(writeln!(std::io::stdout(), "{}", walls.to_line()).is_err());
    }
    let told = told.and_then(|told| CodeForm::from_argument(told.to_str()?));
    let form = told.unwrap_or(CodeForm::SHARED);
    let mut wasm = Vec::new();
    let read = std::io::stdin().lock().take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut wasm);
    if let Err(error) = read {
        said(&format!("no module: {error}"));
        return 1;
    }
    match compile_here(&wasm, form) {
        Ok(compiled) => match std::io::stdout().write_all(&compiled) {
            Ok(()) => 0,
            Err(error) => {
                said(&error.to_string());
                1
            }
        },
        Err(error) => {
            said(&error.to_string());
            u8::try_from(EXIT_REFUSED).unwrap_or(1)
        }
    }
}

fn limit_self() -> Result<Walls, lockdown::LockdownError> {
    lockdown::limit_resources(COMPILE_TIME_MAX, COMPILE_BYTES_MAX)?;
    lockdown::to_pure_computation()
}
