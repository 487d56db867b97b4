//! Programs of other people, unmodified, from package registries, as workers. `cargo xtask test` fetches them.

use std::path::PathBuf;

use grid_tests::{ChildProcess, Grid};
use serde_json::{Value, json};

/// A grid with one host.
fn grid() -> (Grid, ChildProcess) {
    let grid = Grid::closed();
    let host = grid.host("worker", &["--slots", "2"]);
    (grid, host)
}

fn fetched(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let path = root.join("modules/target/fetched").join(name);
    assert!(path.is_file(), "{} is missing; `cargo xtask test` fetches it", path.display());
    path.to_str().unwrap().to_owned()
}

fn path(grid: &Grid, name: &str) -> String {
    grid.folder(name).to_str().unwrap().to_owned()
}

/// A picture of its own size for each number.
fn svg(number: u32) -> String {
    let (width, height) = (16 + number, 8 + number);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><rect width="{width}" height="{height}" fill="#3366cc"/></svg>"##
    )
}

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn resvg_draws_a_hundred_pictures_as_a_hundred_tasks() {
    let (grid, _host) = grid();
    std::fs::create_dir(grid.folder("in")).unwrap();
    for number in 0..100 {
        std::fs::write(grid.folder("in").join(format!("{number:03}.svg")), svg(number)).unwrap();
    }
    let (files, out) = (path(&grid, "in/*.svg"), path(&grid, "out"));
    let resvg = fetched("resvg.wasm");
    let said = grid
        .grid_given(&["run", "--files", &files, "--out-dir", &out, &resvg, "--", "/input", "/out/a.png"], "");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.lines().len(), 100);
    for number in 0..100 {
        let png = std::fs::read(grid.folder("out").join(number.to_string()).join("a.png")).unwrap();
        assert_eq!(size(&png), (16 + number, 8 + number));
    }
}

#[test]
fn flite_says_how_words_sound() {
    let (grid, _host) = grid();
    let flite = fetched("flite.wasm");
    let said = grid.grid_given(
        &["run", "--lines", "--in-order", &flite, "--", "-t", "{}", "-ps", "-o", "none"],
        "hello world\ngood morning\n",
    );
    assert_eq!(said.code, 0, "{said:?}");
    let sounds: Vec<Value> = said.lines().into_iter().map(|line| line["result"]["text"].clone()).collect();
    assert_eq!(sounds[0].as_str().unwrap().trim(), "pau hh ax l ow w er l d pau");
    assert!(sounds[1].as_str().unwrap().contains("m ao r n"), "{sounds:?}");
}

#[test]
fn boolector_finds_the_root_of_49() {
    let (grid, _host) = grid();
    let problem = "(set-logic QF_BV)\n(declare-const x (_ BitVec 8))\n(assert (= (bvmul x x) #x31))\n\
                   (assert (bvult x #x10))\n(check-sat)\n(get-model)\n";
    // Ten is its exit code for `sat`; -e 0 makes that nought.
    let said = grid.grid_given(&["run", "--raw", &fetched("boolector.wasm"), "--", "-m", "-e", "0"], problem);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("sat") && said.stdout.contains("#b00000111"), "{said:?}");
}

#[test]
fn the_gnu_assembler_assembles_for_a_microcontroller() {
    let (grid, _host) = grid();
    std::fs::write(grid.folder("a.s"), "ldi r16, 42\nout 0x05, r16\nret\n").unwrap();
    let (source, out) = (path(&grid, "a.s"), path(&grid, "avr"));
    let assembler = fetched("avr-as.wasm");
    let run = ["run", "--files", &source, "--out-dir", &out, &assembler, "--"];
    let said = grid.grid_given(&[&run[..], &["-mmcu=atmega328p", "-o", "/out/a.o", "/input"]].concat(), "");
    assert_eq!(said.code, 0, "{said:?}");
    let object = std::fs::read(grid.folder("avr/0/a.o")).unwrap();
    assert_eq!(&object[..4], b"\x7fELF");
    let code = [0x0a, 0xe2, 0x05, 0xb9, 0x08, 0x95];
    assert!(object.windows(6).any(|window| window == code), "the three instructions are not in the object");
    // What it says of a mistake is what the client is told.
    std::fs::write(grid.folder("a.s"), "no such instruction\n").unwrap();
    let said = grid.grid_given(&[&run[..], &["-o", "/out/a.o", "/input"]].concat(), "");
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("unknown opcode"), "{said:?}");
    assert_eq!(said.lines()[0]["error"]["attempts"][0]["kind"], json!("exit"), "{said:?}");
}
