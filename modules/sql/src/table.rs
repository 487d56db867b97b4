//! Loading a table in CSV.

use std::error::Error;

use csv::{Reader, ReaderBuilder};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// What all fields of a column are, the narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Integer,
    Real,
    Text,
}

/// Makes the table `input` of CSV with a header.
///
/// Fields lie between commas; between semicolons or tabs if the header has those and no comma. An empty field is
/// null. A column has numbers if all that is in it reads as numbers and would be written so, and text otherwise: in a
/// column with `007` the rest is text, too.
///
/// # Errors
///
/// There is no header, it has a name twice, a line has more or fewer fields than it, or is no UTF-8.
pub(crate) fn load(connection: &mut Connection, input: &[u8]) -> Result<(), Box<dyn Error>> {
    let input = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
    let delimiter = delimiter(input);
    let mut names = reader(input, delimiter);
    let names = names.headers()?;
    if names.is_empty() {
        return Err("the input is empty: it has no header and is no database".into());
    }
    let kinds = kinds(input, delimiter, names.len())?;
    let columns = names.iter().zip(1..).zip(&kinds).map(|((name, number), kind)| column(name, number, *kind));
    let columns = columns.collect::<Vec<_>>().join(", ");
    let places = vec!["?"; names.len()].join(", ");
    let transaction = connection.transaction()?;
    transaction.execute_batch(&format!("create table input({columns})"))?;
    let mut insert = transaction.prepare(&format!("insert into input values ({places})"))?;
    for record in reader(input, delimiter).records() {
        let record = record?;
        insert.execute(params_from_iter(record.iter().zip(&kinds).map(|(field, kind)| kind.value(field))))?;
    }
    drop(insert);
    Ok(transaction.commit()?)
}

fn reader(input: &[u8], delimiter: u8) -> Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).from_reader(input)
}

fn delimiter(input: &[u8]) -> u8 {
    let header = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    *b",;\t".iter().find(|delimiter| header.contains(delimiter)).unwrap_or(&b',')
}

/// What each column is, from all of its fields.
fn kinds(input: &[u8], delimiter: u8, columns: usize) -> Result<Vec<Kind>, csv::Error> {
    let mut kinds = vec![None; columns];
    for record in reader(input, delimiter).records() {
        let record = record?;
        for (kind, field) in kinds.iter_mut().zip(&record).filter(|(_, field)| !field.is_empty()) {
            *kind = (*kind).max(Some(Kind::of(field)));
        }
    }
    Ok(kinds.into_iter().map(|kind| kind.unwrap_or(Kind::Text)).collect())
}

fn column(name: &str, number: usize, kind: Kind) -> String {
    let kind = match kind {
        Kind::Integer => "integer",
        Kind::Real => "real",
        Kind::Text => "text",
    };
    let name = name.trim();
    let name = if name.is_empty() { format!("column{number}") } else { name.replace('"', "\"\"") };
    format!("\"{name}\" {kind}")
}

impl Kind {
    fn of(field: &str) -> Self {
        if field.parse::<i64>().is_ok_and(|number| number.to_string() == field) {
            return Self::Integer;
        }
        // `007` and `+1` are numbers to a computer, and names to whoever wrote them; so is `inf`.
        let digits = field.strip_prefix('-').unwrap_or(field);
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let plain = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
        let finite = field.parse::<f64>().is_ok_and(f64::is_finite);
        // Digits alone that are no `i64` are an identifier, of which a real number would lose the end.
        if finite && plain && !padded && digits.contains(['.', 'e', 'E']) { Self::Real } else { Self::Text }
    }

    fn value(self, field: &str) -> Value {
        let number = match self {
            _ if field.is_empty() => Some(Value::Null),
            Self::Integer => field.parse().ok().map(Value::Integer),
            Self::Real => field.parse().ok().map(Value::Real),
            Self::Text => None,
        };
        number.unwrap_or_else(|| Value::Text(field.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_would_be_written_so() {
        for field in ["0", "-12", "9223372036854775807"] {
            assert_eq!(Kind::of(field), Kind::Integer, "{field}");
        }
        for field in ["0.5", "-.5", "1e3", "12.50"] {
            assert_eq!(Kind::of(field), Kind::Real, "{field}");
        }
        for field in
            ["007", "+1", "-0", "9223372036854775808", "inf", "NaN", "1e999", "00.5", "1,5", " 1", "e"]
        {
            assert_eq!(Kind::of(field), Kind::Text, "{field}");
        }
    }

    #[test]
    fn fields_lie_between_what_the_header_has_between_its_names() {
        assert_eq!(delimiter(b"a;b\n1,5;2\n"), b';');
        assert_eq!(delimiter(b"a\tb;c\n"), b';');
        assert_eq!(delimiter(b"a\tb\n"), b'\t');
        assert_eq!(delimiter(b"a\n"), b',');
    }

    #[test]
    fn names_are_quoted_and_made_where_there_is_none() {
        assert_eq!(column("a \"b\"", 1, Kind::Text), "\"a \"\"b\"\"\" text");
        assert_eq!(column(" ", 3, Kind::Real), "\"column3\" real");
    }
}
