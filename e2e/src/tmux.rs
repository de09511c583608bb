//! A real terminal for tests, by tmux: what a person types goes in, what a person sees comes out.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use localcluster::deadline::Deadline;

/// On a machine that is busy with other tests.
const SEEN_LIMIT: Duration = Duration::from_secs(60);
/// What the shell in it shows when it waits for a command.
const PROMPT: &str = "ready>";

/// A terminal with a shell; closed when dropped.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Whether there can be a terminal on this machine. If not, says why `what` is skipped, past what captures the words of a
    /// test that passes.
    ///
    /// # Errors
    /// In CI, which installs tmux: there the test is not to be skipped.
    pub fn is_available_for(what: &str) -> Result<bool> {
        let found = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_ok_and(|status| status.success()) {
            return Ok(true);
        }
        if std::env::var_os("CI").is_some() {
            return Err(anyhow!("tmux is missing, and {what} must not be skipped in CI"));
        }
        let _ = writeln!(io::stderr(), "SKIPPED: {what} (tmux is missing: `apt-get install tmux`)");
        Ok(false)
    }

    /// Opens one of this size, with its socket in `dir` and these variables for the shell in it.
    ///
    /// # Errors
    /// If tmux does not start it.
    pub fn open(dir: &Path, columns: u16, lines: u16, env: &[(&str, &str)]) -> Result<Terminal> {
        let terminal = Terminal { socket: dir.join("tmux.sock") };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut args = vec!["-f", "/dev/null", "-u", "new-session", "-d", "-x", &columns, "-y", &lines];
        let variables: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        args.extend(variables.iter().flat_map(|variable| ["-e", variable]));
        args.extend(["-e", "ENV=", "-e", "LANG=C.UTF-8", "sh"]);
        terminal.tmux(&args)?;
        // Not by the environment, out of which a shell of root takes none.
        terminal.run(&format!("PS1='{PROMPT} '; clear"))?;
        terminal.wait_for("the shell", |seen| seen.is_at_prompt())?;
        Ok(terminal)
    }

    /// Types a command and Enter.
    ///
    /// # Errors
    /// If tmux is gone.
    pub fn run(&self, command: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", command])?;
        self.press("Enter")
    }

    /// Presses a key by tmux's name of it: `q`, `Tab`, `Escape`, `C-c`.
    ///
    /// # Errors
    /// If tmux is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(drop)
    }

    /// SIGTERM to the program in the foreground.
    ///
    /// # Errors
    /// If there is none.
    pub fn terminate(&self) -> Result<()> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"])?;
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let program = children.split_whitespace().next().context("the shell runs nothing")?;
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {program}")]).status()?;
        ensure!(killed.success(), "kill {program}: {killed}");
        Ok(())
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// If tmux is gone.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]).map(drop)
    }

    /// What is to be seen now.
    ///
    /// # Errors
    /// If tmux is gone.
    pub fn look(&self) -> Result<Seen> {
        let text = self.tmux(&["capture-pane", "-p"])?;
        let state = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag} #{pane_current_command}"])?;
        let mut words = state.split_whitespace();
        let mut flag = || words.next().map(|word| word == "1").context("tmux told less than it was asked");
        let (is_alternate, is_cursor_shown) = (flag()?, flag()?);
        let program = words.next().unwrap_or_default().to_owned();
        Ok(Seen { lines: text.lines().map(str::to_owned).collect(), is_alternate, is_cursor_shown, program })
    }

    /// Waits until what is seen is as `is_so` wants it.
    ///
    /// # Errors
    /// If it does not come to that, with what was seen last.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let mut last = None;
        let found = Deadline::after(SEEN_LIMIT).wait_for(|| {
            let seen = self.look()?;
            let found = is_so(&seen).then(|| seen.clone());
            last = Some(seen);
            anyhow::Ok(found)
        })?;
        found.with_context(|| format!("{what} was never seen; the last was: {last:#?}"))
    }

    /// Checks that a program left the terminal as it found it: the shell reads lines and shows what is typed, the cursor is seen,
    /// and so is what stood there before.
    ///
    /// # Errors
    /// If not, with what was seen.
    pub fn expect_whole(&self, before: &str) -> Result<()> {
        let seen = self.wait_for("the prompt", Seen::is_at_prompt)?;
        ensure!(!seen.is_alternate && seen.is_cursor_shown, "{seen:#?}");
        ensure!(seen.has(before), "what stood there before is gone: {seen:#?}");
        self.run("clear; stty -a | tr ' ' '\\n' | grep -xE -- '-?(echo|icanon|isig|opost)'; echo whole")?;
        let seen = self.wait_for("the state of the terminal", |seen| seen.lines.iter().any(|line| line == "whole"))?;
        let flags: Vec<&str> = seen.lines.iter().map(String::as_str).take_while(|line| *line != "whole").collect();
        for flag in ["echo", "icanon", "isig", "opost"] {
            ensure!(flags.contains(&flag), "`{flag}` is off: {seen:#?}");
        }
        Ok(())
    }

    fn tmux(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().context("tmux")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "tmux {}: {said}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// A terminal at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its lines, without what is blank at their ends.
    pub lines: Vec<String>,
    /// Whether a program has a screen of its own.
    pub is_alternate: bool,
    /// Whether the cursor is shown.
    pub is_cursor_shown: bool,
    /// The program in the foreground.
    pub program: String,
}

impl Seen {
    /// Whether any line has this text.
    pub fn has(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    /// The line that begins with this text.
    pub fn line(&self, begin: &str) -> Option<&str> {
        self.lines.iter().map(String::as_str).find(|line| line.starts_with(begin))
    }

    /// Whether the shell waits for a command.
    pub fn is_at_prompt(&self) -> bool {
        let last = self.lines.iter().rfind(|line| !line.is_empty());
        last.is_some_and(|line| line.trim_end() == PROMPT)
    }
}
