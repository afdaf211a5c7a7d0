//! Aligns cells into columns as Go's `tabwriter` does with Docker's settings.

/// A column is at least this wide, blanks included; Docker's tables have it so.
const MIN_WIDTH: usize = 10;

/// The blanks between the widest cell of a column and the next column.
const PADDING: usize = 3;

/// Aligns lines of cells. The last cell of a line is not padded, and does not widen its column.
///
/// A column reaches over consecutive lines only: a line with fewer cells ends it, and the lines after it align anew.
pub(super) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.len().saturating_sub(1)]).collect();
    for column in 0..columns {
        set_widths(lines, &mut widths, column);
    }
    lines.iter().zip(&widths).map(|(line, widths)| pad_line(line, widths)).collect()
}

/// Aligns text in which tabs end cells.
pub(super) fn align_text(text: &str) -> String {
    let lines: Vec<Vec<String>> = text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    align(&lines)
}

fn set_widths(lines: &[Vec<String>], widths: &mut [Vec<usize>], column: usize) {
    let mut start = 0;
    while start < lines.len() {
        let block = widths[start..].iter().take_while(|widths| column < widths.len()).count();
        let widest = lines[start..start + block].iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        for widths in &mut widths[start..start + block] {
            widths[column] = (widest + PADDING).max(MIN_WIDTH);
        }
        start += block.max(1);
    }
}

fn pad_line(line: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (index, cell) in line.iter().enumerate() {
        match widths.get(index) {
            Some(&width) => out.push_str(&format!("{cell:width$}")),
            None => out.push_str(cell),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_three_blanks_and_ten_characters() {
        assert_eq!(
            align_text("ID\tNAME\tX\nabcdefghijkl\tweb\tyy"),
            "ID             NAME      X\nabcdefghijkl   web       yy\n"
        );
    }

    #[test]
    fn the_last_cell_is_not_padded_even_when_empty() {
        assert_eq!(align_text("A\tB\nlonger\t"), "A         B\nlonger    \n");
    }

    #[test]
    fn a_shorter_line_ends_the_column() {
        assert_eq!(align_text("a\tb\nplain\nlonger than ten\tb"), "a         b\nplain\nlonger than ten   b\n");
    }

    #[test]
    fn width_counts_characters() {
        assert_eq!(align_text("ääääääääää\tb\nc\td"), "ääääääääää   b\nc            d\n");
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(align_text(""), "");
    }
}
