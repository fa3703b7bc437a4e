//! How the program talks.
//!
//! - The answer goes to standard output, alone: a digest can be piped, JSON can be parsed.
//! - Everything else goes to standard error: `note:`, `warning:`, `error:`, then `hint:`.
//! - Progress is drawn only on a terminal, and is gone when the work is done.
//! - Messages begin in lower case and have no full stop; literals stand in backticks.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::{Color, Format, Global, settings};
use crate::error::{Context as _, Error, Kind, Result, causes};
use crate::input::progress::Progress;

/// Where and how things are said.
pub(super) struct Ui {
    format: Format,
    quiet: bool,
    verbose: bool,
    color_out: bool,
    color_err: bool,
    terminal: bool,
    bar: RefCell<Option<ProgressBar>>,
    /// Whether there was an answer on standard output.
    answered: Cell<bool>,
}

/// SGR parameters (ECMA-48 8.3.117).
#[derive(Clone, Copy)]
pub(super) enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Ui {
    pub(super) fn new(global: &Global) -> Self {
        let plain = settings::no_color();
        let color = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        let terminal = io::stderr().is_terminal();
        Self {
            format: global.format,
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(terminal),
            terminal,
            bar: RefCell::new(None),
            answered: Cell::new(false),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Prints the answer.
    pub(super) fn answer(&self, text: &str) -> Result<()> {
        self.answered.set(true);
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
            .and_then(|()| out.flush())
            .or_else(|error| match error.kind() {
                // Whoever read our output has enough of it; the exit code is still ours to give.
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            })
            .context(Kind::Environment, || "failed writing to standard output".to_owned())
    }

    /// Prints an answer that is not text.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .context(Kind::Environment, || "failed writing to standard output".to_owned())
    }

    /// Prints the answer for programs.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .context(Kind::Environment, || "failed writing JSON".to_owned())?;
        self.answer(&text)
    }

    /// `text` as it looks on standard output.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        paint(self.color_out, style, text)
    }

    /// `text` as it looks on standard error.
    pub(super) fn paint_err(&self, style: Style, text: &str) -> String {
        paint(self.color_err, style, text)
    }

    /// The command that most people type next.
    pub(super) fn next(&self, command: &str) {
        if !self.quiet {
            self.say(Style::Cyan, "next", command);
        }
    }

    /// A step that was done, for people who watch.
    pub(super) fn done(&self, text: &str) {
        if !self.quiet {
            self.say(Style::Green, "done", text);
        }
    }

    pub(super) fn failure(&self, error: &Error) {
        self.clear();
        let causes = causes(error);
        if self.is_json() && !self.answered.get() {
            let (kind, message, hints) = (error.kind().code(), error.to_string(), error.hints());
            let _ = self.json(&serde_json::json!({
                "error": { "kind": kind, "message": message, "causes": causes, "hints": hints },
            }));
        }
        self.say(Style::Red, "error", &printable(&error.to_string()));
        for cause in causes {
            self.say(Style::Dim, "  because", &printable(&cause));
        }
        for hint in error.hints() {
            self.say(Style::Cyan, "hint", &printable(hint));
        }
    }

    fn say(&self, style: Style, label: &str, text: &str) {
        let label = paint(self.color_err, style, &format!("{label}:"));
        let line = format!("{label} {text}\n");
        let write = || {
            let _ = io::stderr().lock().write_all(line.as_bytes());
        };
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Ui {
    fn begin(&self, what: &str, total: Option<u64>) {
        self.clear();
        if self.quiet || !self.terminal {
            return;
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg:40!} {bar:24} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>4}",
            ),
            None => (ProgressBar::no_length(), "{msg:40!} {spinner} {bytes:>11}"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        *self.bar.borrow_mut() = Some(bar);
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        self.clear();
    }

    fn detail(&self, text: &str) {
        if self.verbose {
            self.say(Style::Dim, "detail", text);
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            self.say(Style::Bold, "note", text);
        }
    }

    fn warn(&self, text: &str) {
        self.say(Style::Yellow, "warning", text);
    }
}

/// Names out of hostile files must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(
            |c| {
                if c.is_control() && c != '\n' && c != '\t' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            },
        )
        .collect()
}

/// The same for what must stay in its line and look as it is: a name that could break the line, or turn it round,
/// could say what the program does not.
pub(super) fn printable_in_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() || is_bidirectional(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Marks that change the direction of what is beside them (Unicode Standard Annex 9, section 2).
fn is_bidirectional(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

fn paint(color: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Red => 31,
        Style::Green => 32,
        Style::Yellow => 33,
        Style::Cyan => 36,
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A word as a POSIX shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_line() {
        assert_eq!(printable_in_line("a\nb\tc d\u{fc}"), "a b c d\u{fc}");
        assert_eq!(printable_in_line("\r\x1b[2K\u{85}"), "\u{fffd}\u{fffd}[2K\u{fffd}");
        let marks = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter();
        for mark in marks.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(printable_in_line(&format!("a{mark}b")), "a\u{fffd}b", "{mark:?}");
        }
        // What joins and parts letters is text.
        assert_eq!(printable_in_line("\u{200c}\u{200d}"), "\u{200c}\u{200d}");
    }
}
