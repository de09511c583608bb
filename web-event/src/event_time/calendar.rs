//! Days and dates, in the two calendars that Java knows.
//!
//! All functions are for any year that fits; a day is counted from 1970-01-01. The formulas are Howard Hinnant's
//! (“chrono-compatible low-level date algorithms”): years begin in March, so that the leap day is the last.

pub(super) const DAY_MS: i64 = 86_400_000;

/// A date: year (0 is 1 BC), month from 1, day from 1.
pub(super) type Date = (i64, i64, i64);

/// The day of a date of today's calendar. The day of the month may lie beyond its end, and then counts on.
#[inline]
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_march_year(month, day) - 719_468
}

/// The day of a date of the Julian calendar, likewise.
pub(super) fn days_from_julian(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    year.div_euclid(4) * 1461 + year.rem_euclid(4) * 365 + day_of_march_year(month, day) - 719_470
}

/// The date of the Julian calendar of a day.
pub(super) fn julian_from_days(days: i64) -> Date {
    let days = days + 719_470;
    let day_of_cycle = days.rem_euclid(1461);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460) / 365;
    let day_of_year = day_of_cycle - year_of_cycle * 365;
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = days.div_euclid(1461) * 4 + year_of_cycle;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// How many days a month of today's calendar has.
#[inline]
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[inline]
fn day_of_march_year(month: i64, day: i64) -> i64 {
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    (153 * march_month + 2) / 5 + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_through_every_month() {
        let mut days = days_from_civil(-401, 1, 1);
        for year in -401..2401 {
            for month in 1..=12 {
                assert_eq!(days_from_civil(year, month, 1), days, "{year}-{month}");
                days += days_in_month(year, month);
            }
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2025, 2, 30), days_from_civil(2025, 3, 2));
    }

    #[test]
    fn julian_dates_come_back_and_meet_ours_in_1582() {
        for days in -2_000_000..0 {
            let (year, month, day) = julian_from_days(days);
            assert_eq!(days_from_julian(year, month, day), days);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        }
        assert_eq!(days_from_julian(1582, 10, 5), days_from_civil(1582, 10, 15));
        assert_eq!(days_from_julian(1500, 2, 29), days_from_civil(1500, 3, 10));
    }
}
