//! The plane through points that is nearest to them.

/// The factors of `N` quantities whose sum is as near as can be to each figure, by the squares of what they are apart: the normal equations,
/// solved by elimination. `None` if the points do not say.
pub(crate) fn fit<const N: usize>(points: &[([f64; N], f64)]) -> Option<[f64; N]> {
    let mut matrix = [[0.0; N]; N];
    let mut right = [0.0; N];
    for (quantities, figure) in points {
        for row in 0..N {
            right[row] += quantities[row] * figure;
            for column in 0..N {
                matrix[row][column] += quantities[row] * quantities[column];
            }
        }
    }
    solve(matrix, right)
}

/// Gauss–Jordan, with the largest pivot of each column.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let size = |row: usize| matrix[row][column].abs();
        let pivot = (column..N).max_by(|&a, &b| size(a).total_cmp(&size(b)))?;
        let largest = matrix.iter().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if size(pivot) <= largest * 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (pivots, of_right) = (matrix[column], right[column]);
        for row in (0..N).filter(|&row| row != column) {
            let factor = matrix[row][column] / pivots[column];
            for (value, pivot) in matrix[row].iter_mut().zip(pivots) {
                *value -= factor * pivot;
            }
            right[row] -= factor * of_right;
        }
    }
    Some(std::array::from_fn(|row| right[row] / matrix[row][row]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_a_plane_give_it_back() {
        let at = |x: f64, y: f64| ([1.0, x, y], 5.0 + 0.5 * x + 300.0 * y);
        let found = fit(&[at(70.0, 0.01), at(130.0, 0.01), at(70.0, 0.0005), at(130.0, 0.0005)]).expect("they say");
        let off = found.iter().zip([5.0, 0.5, 300.0]).map(|(found, wanted)| (found - wanted).abs());
        assert!(off.fold(0.0, f64::max) < 1e-6, "{found:?}");
    }

    #[test]
    fn of_points_off_a_line_the_squares_count() {
        let found = fit(&[([1.0, 0.0], 0.0), ([1.0, 1.0], 3.0), ([1.0, 2.0], 3.0)]).expect("they say");
        assert!((found[0] - 0.5).abs() < 1e-9 && (found[1] - 1.5).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn points_at_one_place_say_nothing() {
        assert_eq!(fit(&[([1.0, 2.0], 1.0), ([1.0, 2.0], 2.0)]), None);
        assert_eq!(fit::<2>(&[]), None);
    }
}
