//! Printing the rows of a statement.

use std::error::Error;
use std::io::Write;

use rusqlite::Statement;
use rusqlite::types::ValueRef;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

/// Prints an object a row, with its columns in their order. A blob is a text of hexadecimal digits; a number that JSON
/// has none for is null.
///
/// # Errors
///
/// The statement fails, or nothing can be written.
pub(crate) fn print_json(statement: &mut Statement<'_>, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let names = names(statement);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let mut line = serde_json::Serializer::new(&mut *out);
        let mut object = line.serialize_map(Some(names.len()))?;
        for (column, name) in names.iter().enumerate() {
            object.serialize_entry(name, &json(row.get_ref(column)?))?;
        }
        object.end()?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Prints a header, if the statement has columns, and a line a row. Null is an empty field.
///
/// # Errors
///
/// The statement fails, or nothing can be written.
pub(crate) fn print_csv(statement: &mut Statement<'_>, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let names = names(statement);
    let mut lines = csv::Writer::from_writer(out);
    if !names.is_empty() {
        lines.write_record(&names)?;
    }
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        for column in 0..names.len() {
            lines.write_field(text(row.get_ref(column)?))?;
        }
        lines.write_record(None::<&[u8]>)?;
    }
    Ok(lines.flush()?)
}

fn names(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(_) | ValueRef::Blob(_) => text(value).into(),
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
