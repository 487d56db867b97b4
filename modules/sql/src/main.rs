//! Asks its standard input in SQL: a table in CSV, or an SQLite database.
//!
//! A table with a header is the table `input`; a database has its own tables. Rows are printed as JSON, an object a
//! line, or as CSV. All of it is in memory: what statements change is forgotten, unless the worker has files and one of
//! them is `vacuum into '/out/NAME'`.

mod rows;
mod table;

use std::error::Error;
use std::io::{BufWriter, Cursor, Read, Write};
use std::process::ExitCode;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection};

/// How a database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where a database says with two bytes that it has a log beside it, which is not here.
const JOURNAL_MODES: std::ops::Range<usize> = 18..20;

const USAGE: &str = "usage: sql [--csv] STATEMENTS";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sql: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (as_csv, statements) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--csv", statements] => (true, statements),
        [statements] if !statements.starts_with('-') => (false, statements),
        _ => return Err(USAGE.into()),
    };
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let connection = open(input)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    ask(&connection, statements, as_csv, &mut out)?;
    Ok(out.flush()?)
}

/// A database in memory with what the input has.
fn open(mut input: Vec<u8>) -> Result<Connection, Box<dyn Error>> {
    let mut connection = Connection::open_in_memory()?;
    if input.starts_with(MAGIC) {
        if let Some(modes) = input.get_mut(JOURNAL_MODES) {
            modes.fill(1);
        }
        let length = input.len();
        connection.deserialize_read_exact("main", Cursor::new(input), length, false)?;
    } else {
        table::load(&mut connection, &input)?;
    }
    // What is sorted has nowhere else to go.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Runs each of the statements and prints its rows.
fn ask(
    connection: &Connection,
    statements: &str,
    as_csv: bool,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut batch = Batch::new(connection, statements);
    while let Some(mut statement) = batch.next()? {
        if as_csv { rows::print_csv(&mut statement, out)? } else { rows::print_json(&mut statement, out)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(input: &[u8], statements: &str, as_csv: bool) -> Result<String, String> {
        let mut out = Vec::new();
        let asked =
            open(input.to_vec()).and_then(|connection| ask(&connection, statements, as_csv, &mut out));
        asked.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    const TOWNS: &[u8] = b"town,zip,people,share\nB\xc3\xa9ziers,01234,7,0.5\n\"A, B\",55555,12,1\nC,,,\n";

    #[test]
    fn columns_have_the_types_that_all_their_fields_have() {
        let types = "select typeof(town) a, typeof(zip) b, typeof(people) c, typeof(share) d from input";
        let expected = "{\"a\":\"text\",\"b\":\"text\",\"c\":\"integer\",\"d\":\"real\"}\n";
        assert_eq!(answer(TOWNS, &format!("{types} limit 1"), false).unwrap(), expected);
        let last = "{\"a\":\"text\",\"b\":\"null\",\"c\":\"null\",\"d\":\"null\"}\n";
        assert_eq!(answer(TOWNS, &format!("{types} where town = 'C'"), false).unwrap(), last);
    }

    #[test]
    fn rows_are_objects_in_the_order_of_their_columns_or_csv_with_a_header() {
        let query = "select zip, town, people from input order by people desc limit 2";
        let json = "{\"zip\":\"55555\",\"town\":\"A, B\",\"people\":12}\n{\"zip\":\"01234\",\"town\":\"Béziers\",\"people\":7}\n";
        assert_eq!(answer(TOWNS, query, false).unwrap(), json);
        let csv = "zip,town,people\n55555,\"A, B\",12\n01234,Béziers,7\n";
        assert_eq!(answer(TOWNS, query, true).unwrap(), csv);
        let kinds = "select 1.5 r, x'00ff' b, null n, 9e999 i";
        assert_eq!(
            answer(TOWNS, kinds, false).unwrap(),
            "{\"r\":1.5,\"b\":\"00ff\",\"n\":null,\"i\":null}\n"
        );
        assert_eq!(answer(TOWNS, kinds, true).unwrap(), "r,b,n,i\n1.5,00ff,,inf\n");
    }

    #[test]
    fn statements_run_one_after_the_other() {
        let both = "create view grown as select people from input where people > 10; select * from grown";
        assert_eq!(answer(TOWNS, both, false).unwrap(), "{\"people\":12}\n");
        let changed = "delete from input where zip is null; select count(*) n from input;";
        assert_eq!(answer(TOWNS, changed, false).unwrap(), "{\"n\":2}\n");
        assert_eq!(answer(TOWNS, " -- nothing", false).unwrap(), "");
    }

    #[test]
    fn a_database_is_known_by_its_first_bytes_even_if_it_had_a_log() {
        let mut made = Connection::open_in_memory().unwrap();
        made.execute_batch("create table people(name); insert into people values ('Ada'), ('Grace')")
            .unwrap();
        let mut file = made.serialize("main").unwrap().to_vec();
        file[JOURNAL_MODES].fill(2);
        let query = "select count(*) n from people";
        assert_eq!(answer(&file, query, false).unwrap(), "{\"n\":2}\n");
        assert!(answer(&file, "insert into people values ('Alan'); select 1 one", false).is_ok());
        file.truncate(20);
        assert!(answer(&file, query, false).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (input, statements, reason) in [
            (TOWNS, "select nothing from input", "nothing"),
            (TOWNS, "selec", "syntax error"),
            (b"a,b\n1\n", "select 1", "fields"),
            (b"a,a\n1,2\n", "select 1", "duplicate column name"),
            (b"", "select 1", "header"),
            (b"a\n\xff\n", "select 1", "UTF-8"),
        ] {
            let error = answer(input, statements, false).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
