//! How the walk looks: 96 columns, and colours where a terminal shows them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anstream::println;
use anstyle::{AnsiColor, Style};

use super::command::Line;

const TITLE: Style = Style::new().bold();
const COMMAND: Style = AnsiColor::Cyan.on_default();
const ANSWER: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The widest line.
const WIDTH: usize = 96;
/// The length of the bar that stands for all requests.
const BAR: usize = 40;

/// What is printed, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Page {
    steps: u32,
    /// Whether the last line is a claim: what follows it begins something new.
    after_claim: bool,
    held: u32,
    failed: Vec<String>,
}

impl Page {
    /// The title of the next step, and what it is about.
    pub(crate) fn step(&mut self, title: &str, text: &str) {
        self.steps += 1;
        println!("\n{TITLE}{} · {title}{TITLE:#}", self.steps);
        self.after_claim = false;
        paragraph(text);
        println!();
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        self.begin();
        paragraph(text);
    }

    /// Parts what comes from a claim before it.
    fn begin(&mut self) {
        if std::mem::take(&mut self.after_claim) {
            println!();
        }
    }

    /// A command, before it runs.
    pub(crate) fn command(&mut self, line: &Line) {
        self.begin();
        let shown = line.to_string().replace('\n', "\n    ");
        println!("  {COMMAND}$ {shown}{COMMAND:#}");
    }

    /// Who answered how many requests.
    pub(crate) fn shares(&mut self, title: &str, counted: &BTreeMap<String, u32>) {
        self.begin();
        println!("  {title}");
        let all: u32 = counted.values().sum();
        for (name, count) in counted {
            let share = f64::from(*count) / f64::from(all.max(1));
            let bar = "█".repeat(bar_length(*count, all));
            println!("    {ANSWER}{name:<22} {count:>5} {:>6.1} %  {bar}{ANSWER:#}", share * 100.0);
        }
    }

    /// Checks what was found, and prints the claim with the outcome.
    pub(crate) fn claim<T: Debug>(
        &mut self,
        claim: &str,
        found: T,
        holds: impl FnOnce(&T) -> bool,
    ) {
        if holds(&found) {
            self.held += 1;
            println!("  {GOOD}✓{GOOD:#} {claim}");
        } else {
            self.fail(&format!("{claim}; but it is {found:?}"));
        }
        self.after_claim = true;
    }

    /// Something that did not go as it should.
    pub(crate) fn fail(&mut self, what: &str) {
        println!("  {BAD}✗ {what}{BAD:#}");
        self.failed.push(format!("step {}: {what}", self.steps));
    }

    /// Prints what came of it all; whether all is well.
    pub(crate) fn verdict(&self) -> bool {
        println!();
        for failed in &self.failed {
            println!("{BAD}✗{BAD:#} {failed}");
        }
        match self.failed.len() {
            0 => println!("{GOOD}✓ All {} claims hold.{GOOD:#}", self.held),
            failed => println!("{BAD}{failed} failed; {} claims hold.{BAD:#}", self.held),
        }
        self.failed.is_empty()
    }
}

/// The title of everything.
pub(crate) fn title(title: &str, text: &str) {
    println!("\n{TITLE}{title}{TITLE:#}");
    paragraph(text);
}

fn paragraph(text: &str) {
    for line in wrapped(text, WIDTH - 2) {
        println!("  {line}");
    }
}

/// A line of an answer, cut to the page's width.
pub(crate) fn answer(line: &str) {
    let room = WIDTH - 4;
    let mut cut = line.to_owned();
    if let Some((end, _)) = line.char_indices().nth(room) {
        cut.truncate(end);
        cut.pop();
        cut.push('…');
    }
    println!("    {ANSWER}{cut}{ANSWER:#}");
}

/// A part of an answer that has a name, wrapped.
pub(crate) fn field(name: &str, value: &str) {
    let indent = 14;
    for (number, line) in wrapped(value, WIDTH - indent).iter().enumerate() {
        let name = if number == 0 { name } else { "" };
        println!("    {ANSWER}{name:<9} {line}{ANSWER:#}");
    }
}

/// What is up, and how to end it.
pub(crate) fn addresses(addresses: &[(&str, String)]) {
    println!("\n{TITLE}It stays up, to be tried out. Ctrl-C ends all of it.{TITLE:#}\n");
    for (what, command) in addresses {
        println!("  {what}\n    {COMMAND}{command}{COMMAND:#}");
    }
}

fn bar_length(count: u32, all: u32) -> usize {
    let count = usize::try_from(count).unwrap_or_default();
    let all = usize::try_from(all).unwrap_or_default().max(1);
    (count * BAR + all / 2) / all
}

/// Lines of at most so many characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let has_room = |line: &String| line.chars().count() + 1 + word.chars().count() <= width;
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if has_room(line) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
