//! Tables of a few columns, aligned.

use std::fmt;

/// A table with a head; columns of numbers are aligned to the right.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    head: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
    max_width: usize,
}

impl Table {
    /// Returns a table with these columns; a name that starts with `>` is aligned to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            head: columns
                .iter()
                .map(|name| name.trim_start_matches('>').to_owned())
                .collect(),
            right: columns.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
            max_width: 48,
        }
    }

    /// Returns the table with cells of any width: for names that are to be copied.
    pub(crate) fn uncut(self) -> Self {
        Self {
            max_width: usize::MAX,
            ..self
        }
    }

    /// Adds a row; cells that are missing are empty.
    pub(crate) fn row<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, cells: I) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| one_line(&cell.into(), self.max_width))
                .collect(),
        );
    }

    /// Tells whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            std::iter::once(&self.head)
                .chain(&self.rows)
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for (n, row) in std::iter::once(&self.head).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                if column > 0 {
                    line.push_str("  ");
                }
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                if self.right[column] {
                    line.push_str(&padding);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&padding);
                }
            }
            if n > 0 {
                f.write_str("\n")?;
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns the text on one line, cut to `max_width` characters. It may come from a store that
/// anybody wrote: what would move the cursor is replaced.
fn one_line(text: &str, max_width: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace(char::is_control, "\u{fffd}");
    if text.chars().count() <= max_width {
        return text;
    }
    let mut cut: String = text.chars().take(max_width - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_and_moves_no_cursor() {
        let mut table = Table::new(&["x"]).uncut();
        table.row(["a\n b\u{1b}[2J".to_owned(), "x".repeat(99)]);
        assert_eq!(table.to_string(), "x\na b\u{fffd}[2J");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["step", ">seconds"]);
        table.row(["key", "0.10"]);
        table.row(["restore — ü", "12.00"]);
        assert_eq!(
            table.to_string(),
            "step         seconds\nkey             0.10\nrestore — ü    12.00"
        );
    }
}
