//! The rows of Nexmark's query 11, as a CSV file has them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nexmark::q11::Session;

/// Compares a CSV file of sessions with the right ones.
///
/// # Errors
/// If the rows are not the expected ones, each once.
pub fn compare(file: &Path, expected: &[Session]) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut missing: BTreeMap<Session, u32> = BTreeMap::new();
    for session in expected {
        *missing.entry(*session).or_default() += 1;
    }
    for line in text.lines().skip(1) {
        let row = row(line).with_context(|| format!("`{line}` is no row"))?;
        match missing.get_mut(&row) {
            Some(count) if *count > 0 => *count -= 1,
            _ => bail!("row `{line}` is not expected, or there twice"),
        }
    }
    let left = missing.iter().find(|(_, count)| **count > 0);
    left.map_or(Ok(()), |(session, _)| bail!("the row of {session:?} is missing"))
}

/// `bidder,bid_count,starttime,endtime`.
fn row(line: &str) -> Option<Session> {
    let mut fields = line.split(',');
    let session = Session {
        bidder: fields.next()?.parse().ok()?,
        bids: fields.next()?.parse().ok()?,
        start: fields.next()?.parse().ok()?,
        end: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(session)
}

#[cfg(test)]
mod tests {
    use nexmark::Plan;
    use nexmark::q11::sessions;

    use super::*;

    #[test]
    fn rows_are_compared_one_by_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("x.csv");
        let plan = Plan::new(1000, 20, 1, 1).expect("valid");
        let expected = sessions(&plan);
        let line =
            |session: &Session| format!("{},{},{},{}\n", session.bidder, session.bids, session.start, session.end);
        let header = "bidder,bid_count,starttime,endtime\n";
        let rows: Vec<String> = expected.iter().rev().map(line).collect();
        let is_right = |rows: &[String]| {
            std::fs::write(&file, header.to_owned() + &rows.concat()).expect("written");
            compare(&file, &expected).is_ok()
        };
        assert!(is_right(&rows));
        assert!(!is_right(&rows[1..]), "one is missing");
        assert!(!is_right(&[&rows[..], &rows[..1]].concat()), "one is there twice");
        let mut other = rows.clone();
        other[0] = other[0].replacen("2015", "2016", 1);
        assert!(!is_right(&other), "one is another");
    }
}
