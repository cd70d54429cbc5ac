//! `strftime_now`: the date of a moment in the formats that templates use.
//!
//! Engines write their local time. Servers run on UTC, and a clock that is hours off changes a date for those hours.

use std::fmt::Write;

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Writes the moment `us` microseconds after 1970 in a format. `None` where it has a directive that is not known.
pub fn strftime(us: u64, format: &str) -> Option<String> {
    let seconds = us / 1_000_000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    let weekday = name(&DAYS, days % 7)?;
    let month_name = name(&MONTHS, month - 1)?;
    let hour_12 = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut directive = characters.next()?;
        let is_padded = directive != '-';
        if !is_padded {
            directive = characters.next()?;
        }
        let width = if is_padded { 2 } else { 0 };
        let written = match directive {
            'd' => write!(out, "{day:0width$}"),
            'm' => write!(out, "{month:0width$}"),
            'y' => write!(out, "{:0width$}", year % 100),
            'H' => write!(out, "{hour:0width$}"),
            'I' => write!(out, "{hour_12:0width$}"),
            'M' => write!(out, "{minute:0width$}"),
            'S' => write!(out, "{second:0width$}"),
            'Y' => write!(out, "{year}"),
            'e' => write!(out, "{day:2}"),
            'j' => write!(out, "{:03}", days - days_before(year) + 1),
            'A' => write!(out, "{weekday}"),
            'a' => write!(out, "{}", weekday.get(..3)?),
            'B' => write!(out, "{month_name}"),
            'b' | 'h' => write!(out, "{}", month_name.get(..3)?),
            'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            'F' => write!(out, "{year}-{month:02}-{day:02}"),
            'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            'D' => write!(out, "{month:02}/{day:02}/{:02}", year % 100),
            'R' => write!(out, "{hour:02}:{minute:02}"),
            'n' => writeln!(out),
            't' => write!(out, "\t"),
            '%' => write!(out, "%"),
            _ => return None,
        };
        written.ok()?;
    }
    Some(out)
}

fn name<'a>(names: &[&'a str], at: u64) -> Option<&'a str> {
    names.get(usize::try_from(at).ok()?).copied()
}

/// Days from 1970 to the first of January of a year.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    365 * (year - 1970) + leaps(year - 1) - leaps(1969)
}

/// Year, month and day, the latter two from one.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut left = days - days_before(year);
    let february = if is_leap { 29 } else { 28 };
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if left < length {
            return (year, month, left + 1);
        }
        left -= length;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn dates_as_python_writes_them() {
        let all = "%a %A %d %-d %b %B %m %y %Y %H %I %-I %M %S %p %j %%";
        let at = |seconds: u64| strftime(seconds * 1_000_000, all).unwrap();
        assert_eq!(at(0), "Thu Thursday 01 1 Jan January 01 70 1970 00 12 12 00 00 AM 001 %");
        assert_eq!(at(951_868_799), "Tue Tuesday 29 29 Feb February 02 00 2000 23 11 11 59 59 PM 060 %");
        assert_eq!(at(1_735_689_600), "Wed Wednesday 01 1 Jan January 01 25 2025 00 12 12 00 00 AM 001 %");
        assert_eq!(at(1_767_225_599), "Wed Wednesday 31 31 Dec December 12 25 2025 23 11 11 59 59 PM 365 %");
        assert_eq!(strftime(0, "%Q"), None);
        assert_eq!(strftime(0, "%"), None);
    }
}
