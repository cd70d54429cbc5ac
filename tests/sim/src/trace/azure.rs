//! Azure's format (Azure/AzurePublicDataset, LLM traces): a CSV, with or without a head line.
//!
//! ```text
//! TIMESTAMP,ContextTokens,GeneratedTokens
//! 2023-11-16 18:17:03.9799600,4808,10
//! ```
//!
//! It does not tell which prompts began alike, so every prompt is new: a trace for load, not for caches.

use super::{BLOCK_TOKENS, Recorded, TraceError, wrong};

/// Above every id of the other format, so that no block of one trace is taken for a block of the other.
const FIRST_ID: u64 = 1 << 48;

/// What some editors put before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

const MS_PER_S: f64 = 1_000.0;
/// A year has four digits.
const YEARS: u32 = 10_000;
const S_PER_DAY: u32 = 86_400;
const S_PER_HOUR: u32 = 3_600;
const S_PER_MINUTE: u32 = 60;

/// What a time looks like, for those whose file has another.
const TIME: &str =
    "YYYY-MM-DD hh:mm:ss, also with T in the middle, with a fraction, with Z or an offset (+02:00)";

pub(super) fn read(text: &str, limit: usize) -> Result<Vec<Recorded>, TraceError> {
    let mut requests = Vec::new();
    let mut next_id = FIRST_ID;
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    for (at, line) in lines.filter(|(at, line)| *at > 0 || !is_head(line)).take(limit) {
        requests.push(parse(at + 1, line, &mut next_id)?);
    }
    let begin_ms = requests.iter().map(|request| request.at_ms).fold(f64::INFINITY, f64::min);
    for request in &mut requests {
        request.at_ms -= begin_ms;
    }
    requests.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    Ok(requests)
}

/// Whether a first line names columns: a request begins with a year.
fn is_head(line: &str) -> bool {
    !line.starts_with(|first: char| first.is_ascii_digit())
}

fn parse(number: usize, line: &str, next_id: &mut u64) -> Result<Recorded, TraceError> {
    let fields: Vec<&str> = line.split(',').collect();
    let [time, input, output] = fields[..] else {
        return Err(wrong(
            number,
            &format!("{} fields instead of 3 (time, prompt tokens, answer tokens)", fields.len()),
        ));
    };
    let at_ms = parse_time_ms(time)
        .ok_or_else(|| wrong(number, &format!("{time:?} is no time: {TIME} is expected")))?;
    let count = |field: &str| match field.parse() {
        Ok(count @ 1_usize..) => Ok(count),
        _ => Err(wrong(number, &format!("{field:?} is no count of tokens"))),
    };
    let (input_tokens, output_tokens) = (count(input)?, count(output)?);
    let blocks: Vec<u64> = (*next_id..).take(input_tokens.div_ceil(BLOCK_TOKENS)).collect();
    *next_id += blocks.len() as u64;
    Ok(Recorded { at_ms, input_tokens, output_tokens, blocks })
}

/// A time in milliseconds since some day, as of an offset of zero; see [`TIME`].
fn parse_time_ms(time: &str) -> Option<f64> {
    let (date, clock) = time.split_once(['T', ' '])?;
    let (clock, offset_s) = split_offset(clock)?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (u32, u32) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second: f64 = clock.next()?.parse().ok()?;
    let is_day = year < YEARS && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !(is_day && hour < 24 && minute < 60 && (0.0..61.0).contains(&second)) {
        return None;
    }
    let whole_s = f64::from(days(year, month, day)) * f64::from(S_PER_DAY)
        + f64::from(hour * S_PER_HOUR + minute * S_PER_MINUTE);
    Some((whole_s + second - offset_s) * MS_PER_S)
}

/// The time of day, and by how many seconds it is ahead of UTC: 0 where nothing is said.
fn split_offset(clock: &str) -> Option<(&str, f64)> {
    if let Some(clock) = clock.strip_suffix('Z') {
        return Some((clock, 0.0));
    }
    let Some(at) = clock.find(['+', '-']) else { return Some((clock, 0.0)) };
    let (clock, offset) = clock.split_at(at);
    let (sign, digits) = offset.split_at(1);
    let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let is_time = hours < 24 && minutes < 60;
    let ahead_s = is_time.then(|| f64::from(hours * S_PER_HOUR + minutes * S_PER_MINUTE))?;
    Some((clock, if sign == "-" { -ahead_s } else { ahead_s }))
}

/// Days since the first of March of year 0: with the leap day last, months have fixed offsets.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

    #[test]
    fn times_count_from_the_first_and_blocks_are_new() {
        let text =
            format!("{HEAD}\r\n2024-02-28 23:59:59.5000000,1025,10\r\n2024-03-01 00:00:00.2500000,3,8\r\n");
        let requests = read(&text, 10).unwrap();
        assert!(requests[0].at_ms.abs() < 1e-6);
        assert!((requests[1].at_ms - 86_400_750.0).abs() < 1e-3, "2024 has a 29th of February");
        assert_eq!(requests[0].blocks, [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2]);
        assert_eq!(requests[1].blocks, [FIRST_ID + 3]);
    }

    #[test]
    fn a_file_without_a_head_line_keeps_its_first_request() {
        let lines = "2023-11-16 18:17:03,10,1\n2023-11-16 18:17:04,20,2\n";
        for text in [lines.to_owned(), format!("{HEAD}\n{lines}"), format!("\u{feff}{lines}")] {
            let requests = read(&text, 10).unwrap();
            assert_eq!(requests.iter().map(|one| one.input_tokens).collect::<Vec<_>>(), [10, 20], "{text}");
        }
        let error = read("2023-11-16,10,1\n", 10).unwrap_err().to_string();
        assert!(error.starts_with("line 1: "), "a broken request is no head line: {error}");
    }

    #[test]
    fn times_of_the_usual_forms_are_the_same_time() {
        let expected = parse_time_ms("2024-05-10 00:00:00.25").unwrap();
        for time in [
            "2024-05-10T00:00:00.25",
            "2024-05-10T00:00:00.25Z",
            "2024-05-10 00:00:00.250000+00:00",
            "2024-05-10 02:00:00.25+02:00",
            "2024-05-09T18:30:00.25-0530",
        ] {
            assert_eq!(parse_time_ms(time), Some(expected), "{time}");
        }
        for time in [
            "2024-05-10",
            "2024-05-10T00:00",
            "1715299200",
            "2024-05-10 00:00:00+2",
            "2024-05-10 00:00:00+ä",
            "2024-05-10 4000000000:00:00",
        ] {
            assert_eq!(parse_time_ms(time), None, "{time}");
        }
    }

    #[test]
    fn broken_lines_are_named() {
        for line in [
            "2023-11-16,1,2",
            "2023-11-16 18:17:03.9",
            "2023-11-16 18:17:03.9,x,1",
            "2023-13-16 18:17:03.9,1,1",
        ] {
            let error = read(&format!("{HEAD}\n{line}\n"), 10).unwrap_err().to_string();
            assert!(error.starts_with("line 2: "), "{error}");
        }
        let error = read(&format!("{HEAD}\n16.11.2023 18:17,1,1\n"), 10).unwrap_err().to_string();
        assert!(error.contains("YYYY-MM-DD"), "what is expected is said: {error}");
    }
}
