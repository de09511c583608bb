//! A terminal that is drawn on as a whole, and given back as it was: at the end, on an error, on a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::terminal;

/// How soon the thread that reads keys notices that nobody wants them any more.
const KEY_POLL: Duration = Duration::from_millis(100);
/// Keys that wait to be acted on; what is typed faster is dropped.
const WAITING_KEYS: usize = 32;

/// The terminal, while it is ours.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Whether there is one to open.
    ///
    /// # Errors
    /// If standard output is no terminal that can be drawn on.
    pub(crate) fn check() -> Result<(), Failure> {
        let remedy = "`jobctl describe JOB --watch` writes to anything";
        let absent = || Failure::usage(format!("`top` draws on a terminal, and there is none: {remedy}"));
        terminal::size().map(drop).ok_or_else(absent)
    }

    /// Takes the terminal over: keys come as they are pressed, and what stood there is kept for later.
    ///
    /// # Errors
    /// If the terminal does not take that.
    pub(crate) fn open() -> Result<Self, Failure> {
        // It also sees to it that a panic's message comes after the terminal is given back.
        match ratatui::try_init() {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                let _ = ratatui::try_restore();
                Err(Failure::failed("cannot draw on the terminal", &error))
            }
        }
    }

    /// Draws a frame in the size that the terminal has now.
    ///
    /// # Errors
    /// If the terminal takes nothing any more.
    pub(crate) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.terminal.draw(frame).map(drop).map_err(|error| Failure::output(&error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone cannot be given back.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// What a person did at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Next,
    Previous,
    /// The terminal has another size.
    Resized,
}

/// The keys as they are pressed, read by a thread of its own, since reading blocks.
pub(crate) struct Keys {
    pressed: mpsc::Receiver<Key>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Begins to read; a [`Screen`] has to be open.
    ///
    /// # Errors
    /// If there is no thread.
    pub(crate) fn read() -> Result<Self, Failure> {
        let (sender, pressed) = mpsc::channel(WAITING_KEYS);
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let body = move || {
            while !is_stopped.load(Ordering::Relaxed) {
                let key = match event::poll(KEY_POLL).and_then(|is_there| is_there.then(event::read).transpose()) {
                    Ok(event) => event.as_ref().and_then(key),
                    // The terminal has gone: nobody is left to press anything. Without a sender, `next` says so.
                    Err(_) => return,
                };
                if let Some(key) = key {
                    let _ = sender.try_send(key);
                }
            }
        };
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(body);
        let thread = thread.map_err(|error| Failure::failed("cannot read the keyboard", &error))?;
        Ok(Keys { pressed, stop, thread: Some(thread) })
    }

    /// The next key.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Key {
        self.pressed.recv().await.unwrap_or(Key::Quit)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.pressed.close();
        if let Some(thread) = self.thread.take() {
            // It has no reason to panic, and nothing to tell.
            let _ = thread.join();
        }
    }
}

/// What an event means here, if anything.
fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. }) => {
            modifiers.contains(KeyModifiers::CONTROL).then_some(Key::Quit)
        }
        Event::Key(KeyEvent { code, .. }) => Some(match code {
            KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
            KeyCode::Up | KeyCode::Char('k') => Key::Up,
            KeyCode::Down | KeyCode::Char('j') => Key::Down,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown | KeyCode::Char(' ') => Key::PageDown,
            KeyCode::Home | KeyCode::Char('g') => Key::Home,
            KeyCode::End | KeyCode::Char('G') => Key::End,
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Key::Next,
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Key::Previous,
            _ => return None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        key(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn three_ways_lead_out() {
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(pressed(code, KeyModifiers::NONE), Some(Key::Quit));
        }
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), None, "a letter, and not Ctrl-C");
        assert_eq!(key(&Event::Resize(80, 24)), Some(Key::Resized));
    }

    #[test]
    #[ignore = "panics, on a terminal that the next test gives it"]
    fn panics_on_the_screen() {
        let mut screen = Screen::open().expect("a terminal");
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("a terminal");
        panic!("on purpose");
    }

    #[test]
    fn terminal_is_given_back_before_a_panic_is_told() {
        let program = std::env::current_exe().expect("this program");
        let test = "--ignored --exact screen::tests::panics_on_the_screen --nocapture";
        let command = format!("stty cols 80 rows 24; {} {test}; stty -a", program.display());
        // It runs the command on a terminal, and tells everything that the terminal was sent.
        let Ok(told) = Command::new("script").args(["-qec", &command, "/dev/null"]).output() else {
            assert!(std::env::var_os("CI").is_none(), "`script` is missing, and this test must not be skipped in CI");
            return eprintln!("SKIPPED: a panic on the screen (`script` is missing: it is in util-linux)");
        };
        let told = String::from_utf8_lossy(&told.stdout);
        let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("no {text:?} in {told:?}"));
        let (entered, left, message) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"), place("on purpose"));
        assert!(entered < place("drawn") && place("drawn") < left && left < message, "{told:?}");
        let (_, after) = told.split_at(message);
        assert!(after.contains("\u{1b}[?25h"), "the cursor stays hidden: {told:?}");
        for flag in ["echo", "icanon", "isig", "opost"] {
            assert!(after.split([' ', '\r', '\n']).any(|word| word == flag), "`{flag}` is off: {told:?}");
        }
    }
}
