//! Sizes and durations as people write them.

/// Parses a size: a bare number is bytes; `5M`, `5Mi`, `5MiB` are binary multiples. `off` is not a size; the caller knows
/// what it means.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim();
    let shift = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix(['i', 'B'])).unwrap_or(unit) {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let fraction: f64 = number.parse().ok()?;
    let bytes = fraction * (1u64 << shift) as f64;
    (shift > 0 && bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Parses a duration into milliseconds: a bare number is seconds; else numbers with units, as `1h30m`, `100ms`, `7d`.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(unit_end)?;
        let unit_ms: f64 = match unit {
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 604_800_000.0,
            _ => return None,
        };
        let ms = number.parse::<f64>().ok()? * unit_ms;
        if !(ms.is_finite() && ms < 1e17) {
            return None;
        }
        total = total.checked_add(ms.round() as u64)?;
        rest = next;
    }
    Some(total)
}

/// Bytes for people: `5.0 MiB`.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    format!("{value:.1} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_bytes_and_units_are_binary() {
        assert_eq!(parse_bytes("5242880"), Some(5 << 20));
        assert_eq!(parse_bytes("5M"), Some(5 << 20));
        assert_eq!(parse_bytes("5Mi"), Some(5 << 20));
        assert_eq!(parse_bytes("1.5GiB"), Some(3 << 29));
        for wrong in ["", "-1", "5X", "M", "1e3", "99999999999P", "off"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bare_numbers_are_seconds_and_units_add_up() {
        assert_eq!(parse_duration_ms("300"), Some(300_000));
        assert_eq!(parse_duration_ms("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration_ms("100ms"), Some(100));
        assert_eq!(parse_duration_ms("7d"), Some(604_800_000));
        for wrong in ["", "-1", "1y", "h", "5m3", "off"] {
            assert_eq!(parse_duration_ms(wrong), None, "{wrong}");
        }
    }
}
