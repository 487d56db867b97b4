//! The example workers on real input, each as its README says.

use std::fs;

use grid_tests::{ChildProcess, Grid, Said, module};
use serde_json::{Value, json};

/// A grid with one host, and a folder in which tests type their commands.
struct RunFolder {
    grid: Grid,
    _host: ChildProcess,
}

impl RunFolder {
    /// With these files in the folder.
    fn with(files: &[(&str, &[u8])]) -> Self {
        let grid = Grid::closed();
        let host = grid.host("worker", &["--slots", "2"]);
        let workspace = Self { grid, _host: host };
        for (name, content) in files {
            let path = workspace.grid.folder("files").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        workspace
    }

    /// What `grid run OPTIONS WORKER -- ARGUMENTS` says, whatever its exit code.
    fn run(&self, options: &[&str], worker: &str, arguments: &[&str], input: &str) -> Said {
        let worker = module(worker);
        let line = [&["run", "--in-order"], options, &[worker.to_str().unwrap(), "--"], arguments].concat();
        let mut command =
            self.grid.command(if arguments.is_empty() { &line[..line.len() - 1] } else { &line });
        Said::of(command.current_dir(self.grid.folder("files")), input.as_bytes())
    }

    /// As [`Self::run`], where all tasks must be done.
    fn must(&self, options: &[&str], worker: &str, arguments: &[&str], input: &str) -> Said {
        let said = self.run(options, worker, arguments, input);
        assert_eq!(said.code, 0, "{worker} {arguments:?}: {said:?}");
        said
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.grid.folder("files").join(name)).unwrap()
    }
}

/// What each task wrote to its standard output.
fn texts(said: &Said) -> Vec<String> {
    let text = |line: &Value| line["result"]["text"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    said.lines().iter().map(text).collect()
}

/// The width and the height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{:?}", &png[..png.len().min(16)]);
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

const TILE: &str = r#"{"left":-2,"top":-1.25,"step":0.05,"width":50,"height":51,"limit":100}"#;

#[test]
fn grep_finds_lines_with_their_numbers_and_no_line_is_no_failure() {
    let workspace =
        RunFolder::with(&[("a.txt", b"fine\nan error\r\nError again"), ("b.txt", b"all is well\n")]);
    let said = workspace.must(&["--files", "*.txt"], "grep", &["-i", "error"], "");
    assert_eq!(texts(&said), ["2:an error\n3:Error again\n", ""]);
    let said = workspace.must(&["--files", "*.txt"], "grep", &["-c", "-v", "^an? "], "");
    assert_eq!(texts(&said), ["2\n", "1\n"]);
    let said = workspace.run(&["--files", "a.txt", "--retries", "0"], "grep", &["("], "");
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("code 2") && said.stderr.contains("unclosed group"), "{said:?}");
}

#[test]
fn mandelbrot_draws_a_picture_of_the_bytes_that_it_answers_raw() {
    let workspace = RunFolder::with(&[("tile.json", TILE.as_bytes())]);
    workspace.must(&["--raw", "-i", "tile.json", "-o", "tile.png"], "mandelbrot", &[], "");
    assert_eq!(size(&workspace.read("tile.png")), (50, 51));
    let raw = TILE.replace('{', "{\"raw\":true,");
    // The same in CBOR, which is what a line of JSON becomes.
    let said = workspace.must(&[], "mandelbrot", &[], &raw);
    let pixels = said.lines()[0]["result"]["bytes"].as_str().unwrap().to_owned();
    assert_eq!(pixels.len(), 2 * 50 * 51, "two digits a pixel");
    let inside = pixels.as_bytes().chunks(2).filter(|pixel| pixel == b"00").count();
    // The set's area is 1.5066, of which a pixel is 0.0025: 602.6 of them.
    assert!((560..680).contains(&inside), "{inside}");
    assert!(!pixels.starts_with("00"), "a corner is outside");
}

#[test]
fn montecarlo_comes_close_to_pi_and_to_an_options_price_with_the_same_answer_each_time() {
    let workspace = RunFolder::with(&[("none", b"")]);
    let option = json!({ "spot": 100, "strike": 100, "rate": 0.05, "volatility": 0.2, "years": 1 });
    let tasks = [
        json!({ "seed": 1, "count": 200_000 }),
        json!({ "seed": 1, "count": 200_000 }),
        json!({ "seed": 2, "count": 200_000 }),
        json!({ "seed": 3, "count": 200_000, "option": option }),
    ];
    let lines =
        workspace.must(&[], "montecarlo", &[], &tasks.map(|task| task.to_string()).join("\n")).lines();
    let expected = [std::f64::consts::PI, std::f64::consts::PI, std::f64::consts::PI, 10.4506];
    for (line, expected) in lines.iter().zip(expected) {
        let (mean, error) = (&line["result"]["mean"], &line["result"]["error"]);
        let (mean, error) = (mean.as_f64().unwrap(), error.as_f64().unwrap());
        assert!((mean - expected).abs() < 4.0 * error && error < expected / 100.0, "{line}");
    }
    assert_eq!(lines[0]["result"], lines[1]["result"]);
    assert_ne!(lines[1]["result"]["mean"], lines[2]["result"]["mean"]);
}

#[test]
fn kernels_multiply_matrices_to_the_same_in_tiles_and_row_by_row() {
    let workspace = RunFolder::with(&[("none", b"")]);
    let sums = texts(&workspace.must(&["--lines"], "kernels", &[], "thousand 0\nmatmul 3\nrows 3\n"));
    assert_eq!(sums[0], "168");
    assert_eq!(sums[1], sums[2]);
    let said = workspace.run(&["--lines", "--retries", "0"], "kernels", &[], "knitting 3\n");
    assert!(said.code == 8 && said.stderr.contains("no kernel `knitting`"), "{said:?}");
}

#[test]
fn thumbnail_makes_pictures_small_and_upright_and_refuses_what_is_none() {
    let workspace = RunFolder::with(&[
        ("tile.json", TILE.as_bytes()),
        ("photos/b.jpg", include_bytes!("inputs/lying.jpg")),
        ("photos/c.jpg", b"no photo"),
    ]);
    workspace.must(&["--raw", "-i", "tile.json", "-o", "photos/a.png"], "mandelbrot", &[], "");
    let run = ["--files", "photos/*", "--retries", "0", "--out-dir", "small"];
    let said = workspace.run(&run, "thumbnail", &["16"], "");
    assert_eq!(said.code, 8, "{said:?}");
    let lines = said.lines();
    let results: Vec<_> = lines.iter().map(|line| line["result"]["text"].as_str()).collect();
    // The JPEG has 32 by 16 pixels and lies on its side.
    assert_eq!(results, [Some("16 x 16\n"), Some("8 x 16\n"), None]);
    assert_eq!(size(&workspace.read("small/0/thumbnail.png")), (16, 16));
    assert_eq!(size(&workspace.read("small/1/thumbnail.png")), (8, 16));
    let why = lines[2]["error"]["attempts"][0]["message"].as_str().unwrap();
    assert!(why.contains("image format"), "{why}");
    // Without files, the picture is the answer.
    workspace.must(&["--raw", "-i", "photos/b.jpg", "-o", "b.png"], "thumbnail", &["4"], "");
    assert_eq!(size(&workspace.read("b.png")), (2, 4));
}

#[test]
fn wordcount_counts_each_file() {
    let workspace = RunFolder::with(&[("a.txt", "ein Wort\nund nöch eins\n".as_bytes()), ("b.txt", b"")]);
    let said = workspace.must(&["--files", "*.txt"], "wordcount", &[], "");
    assert_eq!(texts(&said), ["2 5 24\n", "0 0 0\n"]);
}

#[test]
fn sql_asks_tables_in_csv_and_databases() {
    let workspace = RunFolder::with(&[
        ("data/a.csv", b"town,people\nA,12\n\"B, C\",30\n"),
        ("data/b.csv", b"town;people\nD;7\n"),
        ("people.sqlite", include_bytes!("inputs/people.sqlite")),
    ]);
    let count = "select count(*) n, sum(people) people from input";
    let said = workspace.must(&["--files", "data/*.csv"], "sql", &[count], "");
    assert_eq!(texts(&said), ["{\"n\":2,\"people\":42}\n", "{\"n\":1,\"people\":7}\n"]);
    let sorted = "select people, upper(town) from input order by people desc";
    let said = workspace.must(&["--raw", "-i", "data/a.csv"], "sql", &["--csv", sorted], "");
    assert_eq!(said.stdout, "people,upper(town)\n30,\"B, C\"\n12,A\n");
    let born = "select name, born from people where born > 1900";
    let said = workspace.must(&["--raw", "-i", "people.sqlite"], "sql", &[born], "");
    assert_eq!(said.lines(), [json!({ "name": "Grace", "born": 1906 })]);
    let said =
        workspace.run(&["--files", "data/a.csv", "--retries", "0"], "sql", &["select x from input"], "");
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.stderr.contains("no such column: x"), "{said:?}");
}

#[test]
fn sql_makes_a_database_of_a_table_where_it_has_files() {
    let workspace = RunFolder::with(&[("a.csv", b"town,people\nA,12\n\"B, C\",30\n")]);
    workspace.must(&["--files", "a.csv", "--out-dir", "made"], "sql", &["vacuum into '/out/a.sqlite'"], "");
    let towns = "select town from input where typeof(people) = 'integer'";
    let said = workspace.must(&["--raw", "--with-files", "-i", "made/0/a.sqlite"], "sql", &[towns], "");
    assert_eq!(said.lines(), [json!({ "town": "A" }), json!({ "town": "B, C" })]);
}
