//! A location as it stands in a row.

use serde::Serialize;
use stream_core::operator::Answer;

/// Country as two letters, state and city by their English names; empty where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Location<'a> {
    /// For instance `DE`.
    pub country: &'a str,
    /// The first subdivision of the country.
    pub state: &'a str,
    /// The city.
    pub city: &'a str,
}

impl Location<'_> {
    /// The location as a JSON object, unless nothing of it is known.
    pub fn answer(self) -> Answer {
        match self == Location::default() {
            true => Answer::Nothing,
            false => Answer::Found(serde_json::to_string(&self).expect("texts can always be written")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_is_an_object_of_three_texts() {
        let location = Location { country: "DE", state: "Land \"Berlin\"", city: "" };
        let json = r#"{"country":"DE","state":"Land \"Berlin\"","city":""}"#;
        assert_eq!(location.answer(), Answer::Found(json.to_owned()));
        assert_eq!(Location::default().answer(), Answer::Nothing);
    }
}
