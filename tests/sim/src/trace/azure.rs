//! Azure's format (Azure/AzurePublicDataset, 2023 LLM traces): a CSV with a head line.
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

const MS_PER_S: f64 = 1_000.0;
const S_PER_DAY: u32 = 86_400;

pub(super) fn read(text: &str, limit: usize) -> Result<Vec<Recorded>, TraceError> {
    let mut requests = Vec::new();
    let mut next_id = FIRST_ID;
    for (at, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()).take(limit)
    {
        requests.push(parse(at + 1, line.trim(), &mut next_id)?);
    }
    let begin_ms = requests.iter().map(|request| request.at_ms).fold(f64::INFINITY, f64::min);
    for request in &mut requests {
        request.at_ms -= begin_ms;
    }
    requests.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    Ok(requests)
}

fn parse(number: usize, line: &str, next_id: &mut u64) -> Result<Recorded, TraceError> {
    let fields: Vec<&str> = line.split(',').collect();
    let [time, input, output] = fields[..] else {
        return Err(wrong(number, &format!("{} fields instead of 3", fields.len())));
    };
    let at_ms = parse_time_ms(time).ok_or_else(|| wrong(number, &format!("{time:?} is no time")))?;
    let count = |field: &str| match field.parse() {
        Ok(count @ 1_usize..) => Ok(count),
        _ => Err(wrong(number, &format!("{field:?} is no count of tokens"))),
    };
    let (input_tokens, output_tokens) = (count(input)?, count(output)?);
    let blocks: Vec<u64> = (*next_id..).take(input_tokens.div_ceil(BLOCK_TOKENS)).collect();
    *next_id += blocks.len() as u64;
    Ok(Recorded { at_ms, input_tokens, output_tokens, blocks })
}

/// `YYYY-MM-DD hh:mm:ss.fff` in milliseconds since some day.
fn parse_time_ms(time: &str) -> Option<f64> {
    let (date, clock) = time.split_once(' ')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (u32, u32) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second: f64 = clock.next()?.parse().ok()?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    let whole_s =
        f64::from(days(year, month, day)) * f64::from(S_PER_DAY) + f64::from(hour * 3_600 + minute * 60);
    (in_range && (0.0..61.0).contains(&second)).then_some((whole_s + second) * MS_PER_S)
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
    }
}
