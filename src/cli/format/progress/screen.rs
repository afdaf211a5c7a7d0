//! Draws lines over the lines drawn before.

use super::lines::{COUNTDOWN, has_bar};

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// A terminal of this many columns, on which lines are drawn in place.
    Terminal(usize),
    /// A file or pipe, to which only changes of the totals and the phase are written.
    Plain,
}

/// What has been drawn so far.
#[derive(Debug)]
pub(crate) struct Screen {
    target: Target,
    drawn: Vec<String>,
}

impl Screen {
    /// A screen on which nothing has been drawn.
    pub(crate) fn new(target: Target) -> Self {
        Self { target, drawn: Vec::new() }
    }

    /// What to write so that `lines` appear in place of those of the last call; empty when nothing changed.
    ///
    /// The cursor then stands at the start of the line below, where an error or a prompt may follow.
    pub(crate) fn draw(&mut self, lines: &[String]) -> String {
        match self.target {
            Target::Terminal(columns) => self.redraw(lines, columns),
            Target::Plain => self.append(lines),
        }
    }

    fn redraw(&mut self, lines: &[String], columns: usize) -> String {
        let lines: Vec<String> = lines.iter().map(|line| clip(line, columns)).collect();
        if lines == self.drawn {
            return String::new();
        }
        let mut out = up(self.drawn.len());
        for (index, line) in lines.iter().enumerate() {
            // A line that has not changed is stepped over: rewriting it would make a slow terminal flicker.
            if self.drawn.get(index) == Some(line) {
                out.push('\n');
            } else {
                out.push_str(&format!("\r\x1b[2K{line}\n"));
            }
        }
        if lines.len() < self.drawn.len() {
            out.push_str("\x1b[J");
        }
        self.drawn = lines;
        out
    }

    /// A log wants the story, not the animation: bars, empty slots and the countdown's later seconds are left out.
    fn append(&mut self, lines: &[String]) -> String {
        let told: Vec<String> = lines.iter().filter(|line| !has_bar(line) && !is_empty_slot(line)).cloned().collect();
        let new = told.iter().filter(|line| !self.drawn.iter().any(|drawn| says_the_same(drawn, line)));
        let out = new.map(|line| format!("{line}\n")).collect();
        self.drawn = told;
        out
    }
}

/// A slot's label with nothing after it.
fn is_empty_slot(line: &str) -> bool {
    line.trim_start().strip_suffix(':').is_some_and(|label| !label.contains(' '))
}

fn says_the_same(drawn: &str, line: &str) -> bool {
    drawn == line || (drawn.starts_with(COUNTDOWN) && line.starts_with(COUNTDOWN))
}

fn up(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A") }
}

/// Cuts a line below the width, since a terminal breaks a line that fills it. An unknown width, 0, cuts nothing.
///
/// Control characters of an error text would move the cursor, and so are shown as blanks.
fn clip(line: &str, columns: usize) -> String {
    let most = if columns == 0 { usize::MAX } else { columns.saturating_sub(1) };
    line.chars().take(most).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(screen: &mut Screen, lines: &[&str]) -> String {
        screen.draw(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_terminal_is_redrawn_in_place() {
        let mut screen = Screen::new(Target::Terminal(80));
        assert_eq!(draw(&mut screen, &["head 0", "1/1:"]), "\r\x1b[2Khead 0\n\r\x1b[2K1/1:\n");
        assert_eq!(draw(&mut screen, &["head 0", "1/1:"]), "");
        assert_eq!(draw(&mut screen, &["head 0", "1/1: new"]), "\x1b[2A\n\r\x1b[2K1/1: new\n");
        assert_eq!(draw(&mut screen, &["head 1", "1/1: new", "verify"]), "\x1b[2A\r\x1b[2Khead 1\n\n\r\x1b[2Kverify\n");
        assert_eq!(draw(&mut screen, &["head 2"]), "\x1b[3A\r\x1b[2Khead 2\n\x1b[J");
    }

    #[test]
    fn lines_are_cut_below_the_width() {
        let mut screen = Screen::new(Target::Terminal(5));
        assert_eq!(draw(&mut screen, &["1234567"]), "\r\x1b[2K1234\n");
        assert_eq!(draw(&mut Screen::new(Target::Terminal(0)), &["a\x1b[1mb"]), "\r\x1b[2Ka [1mb\n");
    }

    #[test]
    fn a_pipe_gets_each_change_once_and_no_bars() {
        let mut screen = Screen::new(Target::Plain);
        assert_eq!(
            draw(&mut screen, &["overall progress: 0 out of 1 tasks", "1/1:"]),
            "overall progress: 0 out of 1 tasks\n"
        );
        let bar = format!("1/1: new       [=>{}]", " ".repeat(49));
        assert_eq!(draw(&mut screen, &["overall progress: 0 out of 1 tasks", &bar]), "");
        let failed = ["overall progress: 0 out of 1 tasks", "1/1: no suitable node [a > b]"];
        assert_eq!(draw(&mut screen, &failed), "1/1: no suitable node [a > b]\n");
        assert_eq!(draw(&mut screen, &[COUNTDOWN, &bar]), format!("{COUNTDOWN}\n"));
        assert_eq!(draw(&mut screen, &[&format!("{COUNTDOWN}4 seconds")]), "");
        assert_eq!(draw(&mut screen, &["verify: Service web converged"]), "verify: Service web converged\n");
    }
}
