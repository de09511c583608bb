//! How the lines of a screen are shared out among tables.

/// A heading and one row: less shows nothing.
const LEAST: u16 = 2;

/// The lines of each table, its heading included: none for one that has no place.
///
/// `wanted` are the lines that each would need for all its rows. The table with the focus is served first, with up to half of
/// what there is, then each of the others with the least that makes sense; what is left goes round line by line.
pub(super) fn share<const N: usize>(available: u16, wanted: [u16; N], focus: usize) -> [u16; N] {
    let in_turn = || std::iter::once(focus).chain((0..N).filter(|index| *index != focus));
    let mut left = available;
    let mut given = [0; N];
    for index in in_turn() {
        let part = if index == focus { LEAST.max(available / 2) } else { LEAST };
        let part = wanted[index].min(part);
        if part <= left {
            given[index] = part;
            left -= part;
        }
    }
    while left > 0 {
        let before = left;
        for index in in_turn() {
            if left > 0 && given[index] > 0 && given[index] < wanted[index] {
                given[index] += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shown_where_there_is_room() {
        assert_eq!(share(20, [2, 4, 4, 6], 0), [2, 4, 4, 6]);
    }

    #[test]
    fn half_is_the_focus_and_the_rest_is_shared_evenly() {
        assert_eq!(share(12, [2, 10, 10, 10], 1), [2, 6, 2, 2]);
        assert_eq!(share(20, [2, 10, 10, 10], 1), [2, 10, 4, 4]);
    }

    #[test]
    fn the_focus_keeps_its_place_on_the_smallest_screen() {
        assert_eq!(share(5, [3, 9, 9, 9], 3), [2, 0, 0, 3]);
        assert_eq!(share(1, [3, 9, 9, 9], 3), [0, 0, 0, 0]);
        assert_eq!(share(0, [3], 0), [0]);
    }
}
