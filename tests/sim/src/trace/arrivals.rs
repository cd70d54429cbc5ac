//! Mooncake's timestamps are rounded to about three seconds: hundreds of requests seem to come at once, and then
//! none. Played like that, every policy would measure a queue that was not there.

use super::Recorded;

/// The longest step of the timestamps, in milliseconds. A longer gap is a pause.
const STEP_MAX_MS: f64 = 3_000.0;

/// Spreads the requests of each timestamp evenly until the next one, and lets the first come at 0.
pub(super) fn spread(requests: &mut [Recorded]) {
    requests.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    let begin_ms = requests.first().map_or(0.0, |first| first.at_ms);
    let mut rest = requests;
    while let Some(bin_ms) = rest.first().map(|first| first.at_ms) {
        let count = rest.partition_point(|request| request.at_ms <= bin_ms);
        let next_ms = rest.get(count).map_or(f64::INFINITY, |next| next.at_ms);
        let step_ms = (next_ms - bin_ms).min(STEP_MAX_MS) / count as f64;
        let (bin, after) = rest.split_at_mut(count);
        for (number, request) in bin.iter_mut().enumerate() {
            request.at_ms = bin_ms - begin_ms + step_ms * number as f64;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_times(times: &[f64]) -> Vec<f64> {
        let request =
            |at_ms: &f64| Recorded { at_ms: *at_ms, input_tokens: 1, output_tokens: 1, blocks: vec![0] };
        let mut requests: Vec<_> = times.iter().map(request).collect();
        spread(&mut requests);
        requests.iter().map(|request| request.at_ms).collect()
    }

    #[test]
    fn each_bin_is_spread_until_the_next_and_a_pause_stays() {
        assert_eq!(
            spread_times(&[1_000.0, 1_000.0, 3_000.0, 3_000.0, 3_000.0, 60_000.0]),
            [0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0, 59_000.0]
        );
        assert_eq!(spread_times(&[]), [0.0; 0]);
    }
}
