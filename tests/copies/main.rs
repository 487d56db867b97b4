//! How often the manager copies the input of a task: from the socket to the disk, and from the disk to the socket.
//!
//! The manager runs in this process, with an allocator that counts; the client and the host are processes of their own,
//! over QUIC on loopback. An allocation that is at least as long as the input is a copy of it, or room for one.
//!
//! To the disk there are two: the frame, put together from what quinn has received, and redb's page, which is written.
//! Back there are two: redb's page, as it is read, and the command to the host, which quinn sends from where it is kept.
//! What is copied piece by piece is not counted: packets by quinn, and by the kernel.

mod counter;

use std::process::Command;

use counter::CountingAllocator;
use grid_protocol::limits::PAYLOAD_BYTES_MAX;
use grid_tests::{ChildProcess, Said, program, within};
use wasm_grid::{Manager, Role};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Receives its input, and answers with its first byte.
const SHORT_ANSWER: &str = r#"(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (import "grid" "send" (func $send (param i32 i32)))
  (memory (export "memory") 16)
  (func (export "handle_msg") (param $length i32)
    (drop (call $recv (i32.const 0) (local.get $length)))
    (call $send (i32.const 0) (i32.const 1))))"#;

/// Inputs in the job: enough that an allocation now and then, which has nothing to do with them, does not make a third.
const INPUTS: usize = 16;

#[tokio::test]
async fn an_input_is_copied_at_most_twice_to_the_disk_and_twice_back() {
    within(async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let start = || {
            let builder = Manager::builder().home(path("home")).state(path("state"));
            builder.listen("127.0.0.1:0".parse().unwrap()).start().unwrap()
        };
        std::fs::write(path("short.wasm"), wat::parse_str(SHORT_ANSWER).unwrap()).unwrap();
        std::fs::create_dir(path("inputs")).unwrap();
        for number in 0..INPUTS {
            let input = vec![number as u8; PAYLOAD_BYTES_MAX];
            std::fs::write(path("inputs").join(format!("{number}")), input).unwrap();
        }

        let manager = start();
        let ticket = manager.ticket(Role::Publisher).await.unwrap();
        let run = |more: &'static [&'static str]| {
            let mut command = Command::new(program("grid"));
            command.args(["run", "--detach", "--quiet", "--manager", &ticket]).arg(path("short.wasm"));
            command.env("GRID_HOME", path("client")).current_dir(path("inputs")).args(more);
            async move {
                let said = tokio::task::spawn_blocking(move || Said::of(&mut command, b"1\n")).await.unwrap();
                assert_eq!(said.code, 0, "{said:?}");
                said.stdout.trim().to_owned()
            }
        };
        // The module, and all that is made once.
        run(&[]).await;
        ALLOCATOR.count_from(PAYLOAD_BYTES_MAX);
        let job = run(&["--files", "*"]).await.parse().unwrap();
        let to_disk = ALLOCATOR.count();
        drop(manager);

        // Another manager, which has read nothing yet.
        let manager = start();
        let ticket = manager.ticket(Role::Host).await.unwrap();
        let mut command = Command::new(program("grid-host"));
        command.args(["--manager", &ticket, "--state"]).arg(path("host"));
        ALLOCATOR.count_from(PAYLOAD_BYTES_MAX);
        let _host = ChildProcess::start("host", &mut command);
        manager.find_job(job).wait().await.unwrap();
        let from_disk = ALLOCATOR.count();
        assert!(to_disk <= 2 * INPUTS, "{to_disk} copies of {INPUTS} inputs on their way to the disk");
        assert!(from_disk <= 2 * INPUTS, "{from_disk} copies of {INPUTS} inputs on their way back");
    })
    .await;
}
