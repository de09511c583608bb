//! A bid as a line of JSON, with all fields that a bid of Nexmark has.

use stream_core::random::SplitMix64;
use stream_core::time::EventTime;

use crate::bid::{Bid, below};

/// Channels with names; every other bid comes by one of them.
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// The others have numbers.
const CHANNELS: u64 = 10_000;
/// A bid is padded to about 100 bytes, of which its numbers count for 32: by 54 to 81 letters, 68 on average.
const LEAST_EXTRA: usize = 54;
const EXTRA_SPREAD: u64 = 28;
/// `2015-07-15T00:00:00.000Z`.
const TIME_BYTES: usize = 24;

/// Writes bids; neighbours often share a millisecond, whose text is kept.
#[derive(Clone, Debug)]
pub struct Writer {
    time: EventTime,
    time_text: [u8; TIME_BYTES],
}

impl Writer {
    /// A writer that has written nothing yet.
    pub fn new() -> Self {
        Writer { time: EventTime::default(), time_text: text_of_second(0) }
    }

    /// Appends a bid as JSON, without a line end.
    pub fn write(&mut self, bid: &Bid, out: &mut Vec<u8>) {
        let mut random = bid.random.clone();
        if bid.time != self.time {
            self.set_time(bid.time);
        }
        out.extend_from_slice(b"{\"auction\":");
        number(bid.auction, out);
        out.extend_from_slice(b",\"bidder\":");
        number(bid.bidder, out);
        out.extend_from_slice(b",\"price\":");
        number(bid.price, out);
        channel(&mut random, out);
        out.extend_from_slice(b"\",\"date_time\":\"");
        out.extend_from_slice(&self.time_text);
        out.extend_from_slice(b"\",\"extra\":\"");
        let extra = LEAST_EXTRA + usize::try_from(below(&mut random, EXTRA_SPREAD)).unwrap_or(0);
        letters(&mut random, extra, out);
        out.extend_from_slice(b"\"}");
    }

    fn set_time(&mut self, time: EventTime) {
        let (second, ms) = (time.0.div_euclid(1000), time.0.rem_euclid(1000));
        if second != self.time.0.div_euclid(1000) {
            self.time_text = text_of_second(second);
        }
        for (place, of) in [(20, 100), (21, 10), (22, 1)] {
            self.time_text[place] = b'0' + u8::try_from(ms / of % 10).unwrap_or(0);
        }
        self.time = time;
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

/// The channel and its URL, which is one and the same for each channel.
fn channel(random: &mut SplitMix64, out: &mut Vec<u8>) {
    let drawn = below(random, 2 * CHANNELS);
    let hot = usize::try_from(drawn).ok().filter(|_| drawn < CHANNELS).map(|hot| HOT_CHANNELS[hot % 4]);
    let channel = if hot.is_some() { CHANNELS + drawn % 4 } else { drawn - CHANNELS };
    out.extend_from_slice(b",\"channel\":\"");
    match hot {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"channel-");
            number(channel, out);
        }
    }
    out.extend_from_slice(b"\",\"url\":\"https://www.nexmark.com/");
    letters(&mut SplitMix64::new(channel), 16, out);
    out.extend_from_slice(b"/item.htm?query=1");
    if hot.is_none() {
        out.extend_from_slice(b"&channel_id=");
        number(channel, out);
    }
}

/// The text of the first millisecond of a second since 1970.
fn text_of_second(second: i64) -> [u8; TIME_BYTES] {
    let shown = EventTime(second.saturating_mul(1000)).to_string();
    let mut text = *b"0000-00-00T00:00:00.000Z";
    // A year of five digits, which no plan gets to, would be cut.
    for (to, from) in text[..TIME_BYTES - 1].iter_mut().zip(shown.bytes()).filter(|(_, from)| *from != b' ') {
        *to = from;
    }
    text
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// So many letters from `a` to `p`, eight of each draw.
fn letters(random: &mut SplitMix64, count: usize, out: &mut Vec<u8>) {
    let mut left = count;
    while left > 0 {
        let eight = (random.bits() & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
        let taken = left.min(8);
        out.extend_from_slice(&eight.to_le_bytes()[..taken]);
        left -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn line_is_json_with_every_field() {
        let plan = Plan::of_events(10_000).expect("valid");
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        for event in 0..plan.events() {
            let Some(bid) = plan.bid(event) else { continue };
            out.clear();
            writer.write(&bid, &mut out);
            let text = std::str::from_utf8(&out).expect("ASCII");
            let Bid { auction, bidder, price, .. } = bid;
            let head = format!("{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"");
            assert!(text.starts_with(&head), "{text}");
            let time = bid.time.to_string().replace(' ', "T");
            assert!(text.contains(&format!("\",\"date_time\":\"{time}Z\",\"extra\":\"")), "{text}");
            assert!(text.ends_with("\"}") && text.contains("\",\"url\":\"https://www.nexmark.com/"), "{text}");
            assert_eq!(text.matches('"').count(), 22, "{text}");
            assert!((200..320).contains(&text.len()), "{} bytes", text.len());
        }
    }

    #[test]
    fn line_does_not_depend_on_what_was_written_before() {
        let plan = Plan::of_events(100).expect("valid");
        let (first, second) = (plan.bid(10).expect("a bid"), plan.bid(60).expect("a bid"));
        let (mut writer, mut one, mut other) = (Writer::new(), Vec::new(), Vec::new());
        writer.write(&first, &mut other);
        other.clear();
        writer.write(&second, &mut other);
        Writer::new().write(&second, &mut one);
        assert_eq!(one, other);
    }
}
