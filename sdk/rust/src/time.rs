//! Dates as providers write them. No clock: `now` is the host's.

use crate::nouns::Instant;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment taken apart, UTC.
struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Civil {
    /// Days are counted from 0000-03-01, so that the leap day is the last of its year.
    fn of(seconds: i64) -> Civil {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |number: i64| u32::try_from(number).unwrap_or(0);
        Civil {
            year,
            month: small(month),
            day: small(of_year - (153 * shifted + 2) / 5 + 1),
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
        }
    }

    /// Seconds since 1970, or nothing for a date that does not exist.
    fn seconds(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days_in_month = match self.month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        // A leap second is told as 60.
        if self.day == 0 || self.day > days_in_month || self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let month = i64::from(if self.month > 2 { self.month - 3 } else { self.month + 9 });
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        Some(days * 86_400 + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second))
    }
}

/// `20130524T000000Z`.
pub fn basic(instant: Instant) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(instant.seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `Tue, 27 Mar 2007 19:36:42 GMT`.
pub fn http_date(instant: Instant) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(instant.seconds);
    let of_week = usize::try_from(instant.seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let weekday = DAYS.get(of_week).copied().unwrap_or("");
    let month = usize::try_from(month).ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).copied().unwrap_or("");
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// `Tue, 27 Mar 2007 19:36:42 GMT`, and the same with `+0000` or `UTC`.
pub fn parse_http_date(text: &str) -> Option<Instant> {
    let (_, date) = text.trim().split_once(", ")?;
    let mut words = date.split_ascii_whitespace();
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = u32::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year = words.next()?.parse().ok()?;
    let (hour, minute, second) = clock(words.next()?)?;
    matches!(words.next()?, "GMT" | "UTC" | "+0000").then_some(())?;
    let seconds = Civil { year, month, day, hour, minute, second }.seconds()?;
    words.next().is_none().then_some(Instant { seconds, nanoseconds: 0 })
}

/// `2024-01-02T03:04:05.678Z`, and the same with an offset such as `+01:00`.
pub fn parse_rfc3339(text: &str) -> Option<Instant> {
    let (date, rest) = text.trim().split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = clock(time)?;
    let nanoseconds = fraction_ns(fraction)?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let offset = i64::from(digits(hours, 2)?) * 3600 + i64::from(digits(minutes, 2)?) * 60;
            if zone.starts_with('-') { -offset } else { offset }
        }
    };
    let seconds = Civil { year: i64::from(year), month, day, hour, minute, second }.seconds()? - offset;
    parts.next().is_none().then_some(Instant { seconds, nanoseconds })
}

/// `2024-01-02T03:04:05.678Z`, with so many digits after the point (at most nine; none: no point).
pub fn rfc3339(instant: Instant, digits: usize) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::of(instant.seconds);
    let fraction = format!("{:09}", instant.nanoseconds);
    let fraction = fraction.get(..digits).unwrap_or(&fraction);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{fraction}Z")
}

/// Decimal Unix seconds: `1700000000.123456789`; trailing zeros, and the point with them, are left out.
pub fn decimal(instant: Instant) -> String {
    // Before 1970 the fraction counts downwards in writing.
    let (sign, seconds, nanoseconds) = match (instant.seconds, instant.nanoseconds) {
        (seconds, nanoseconds) if seconds >= 0 => ("", seconds, nanoseconds),
        (seconds, 0) => ("-", -seconds, 0),
        (seconds, nanoseconds) => ("-", -seconds - 1, 1_000_000_000 - nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned()
}

/// Back from `decimal`; more than nine digits after the point are cut.
pub fn parse_decimal(text: &str) -> Option<Instant> {
    let text = text.trim();
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole: i64 = if whole.bytes().all(|byte| byte.is_ascii_digit()) { whole.parse().ok()? } else { return None };
    let nanoseconds = fraction_ns(fraction)?;
    Some(match (negative, nanoseconds) {
        (false, _) => Instant { seconds: whole, nanoseconds },
        (true, 0) => Instant { seconds: -whole, nanoseconds: 0 },
        (true, _) => Instant { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn clock(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(':');
    let time = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    parts.next().is_none().then_some(time)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn fraction_ns(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").get(..9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Instant {
        Instant { seconds, nanoseconds }
    }

    #[test]
    fn dates_come_back_as_they_went() {
        for seconds in [0, 951_782_400, 1_369_353_600, 1_175_024_202, -1, 4_102_444_799] {
            assert_eq!(parse_http_date(&http_date(at(seconds, 0))), Some(at(seconds, 0)), "{seconds}");
        }
        assert_eq!(http_date(at(1_175_024_202, 0)), "Tue, 27 Mar 2007 19:36:42 GMT");
        assert_eq!(basic(at(1_369_353_600, 0)), "20130524T000000Z");
    }

    #[test]
    fn rfc3339_has_fractions_and_offsets() {
        assert_eq!(parse_rfc3339("2024-01-02T03:04:05.678Z"), Some(at(1_704_164_645, 678_000_000)));
        assert_eq!(parse_rfc3339("2024-01-02T03:04:05+01:00"), Some(at(1_704_161_045, 0)));
        for wrong in ["2024-13-02T03:04:05Z", "2023-02-29T00:00:00Z", "2024-01-02", "2024-01-02T03:04:05"] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn decimal_seconds_drop_trailing_zeros() {
        let pairs = [
            (at(1_700_000_000, 123_456_789), "1700000000.123456789"),
            (at(1_700_000_000, 500_000_000), "1700000000.5"),
            (at(7, 0), "7"),
            (at(-2, 500_000_000), "-1.5"),
            (at(-1, 500_000_000), "-0.5"),
        ];
        for (instant, text) in pairs {
            assert_eq!(decimal(instant), text);
            assert_eq!(parse_decimal(text), Some(instant), "{text}");
        }
        assert_eq!(parse_decimal("yesterday"), None);
    }
}
