//! The step-time model against the golden points of its calibration report.
#![allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "test support: counts are small")]

use warmpath_engine::{
    Params, Preset,
    model::{StepLoad, StepTime},
};

fn step_time(preset: Preset) -> StepTime {
    Params::new(preset).step_time
}

fn prefill(new: usize, prefix: usize) -> StepLoad {
    let mut load = StepLoad::default();
    load.add_prefill(new, prefix);
    load
}

fn decode(requests: usize, context: usize) -> StepLoad {
    let mut load = StepLoad::default();
    (0..requests).for_each(|_| load.add_decode(context));
    load
}

/// Checks milliseconds to the precision with which they were published.
#[track_caller]
fn assert_ms(time: &StepTime, load: &StepLoad, expected_ms: f64, tolerance: f64) {
    let ms = time.seconds(load) * 1_000.0;
    assert!((ms / expected_ms - 1.0).abs() <= tolerance, "{ms} ms, published {expected_ms} ms");
}

#[test]
fn a_full_prefill_step_takes_what_was_published() {
    assert_ms(&step_time(Preset::Qwen3On2), &prefill(8_192, 0), 481.6, 0.001);
    assert_ms(&step_time(Preset::Llama8On1), &prefill(8_192, 0), 201.2, 0.001);
    assert_ms(&step_time(Preset::Llama70On4), &prefill(8_192, 0), 587.3, 0.001);
}

#[test]
fn decode_steps_take_what_was_published() {
    let published = [
        (Preset::Qwen3On2, [12.1, 19.1, 59.4]),
        (Preset::Llama8On1, [5.7, 11.5, 50.6]),
        (Preset::Llama70On4, [13.6, 17.9, 43.7]),
    ];
    for (preset, expected_ms) in published {
        let loads = [decode(8, 1_000), decode(64, 2_000), decode(128, 8_000)];
        for (load, expected_ms) in loads.iter().zip(expected_ms) {
            assert_ms(&step_time(preset), load, expected_ms, 0.01);
        }
    }
}

#[test]
fn a_long_prefix_makes_new_tokens_more_expensive() {
    // Published from the raw kernel tables; the closed form is within 3 % of them.
    let published = [(0, 107.0), (8_000, 133.0), (32_000, 214.0), (64_000, 324.0)];
    for (prefix, expected_ms) in published {
        assert_ms(&step_time(Preset::Qwen3On2), &prefill(2_048, prefix), expected_ms, 0.03);
    }
}

#[test]
fn the_curve_is_linear_between_and_beyond_its_points() {
    let time = step_time(Preset::Qwen3On2);
    let lin_ms = |tokens: usize| {
        let load = StepLoad { prefill_tokens: tokens, ..StepLoad::default() };
        time.seconds(&load) * 1_000.0
    };
    assert!((lin_ms(1) - 10.438).abs() < 1e-9);
    assert!((lin_ms(16_384) - 827.292).abs() < 1e-9);
    assert!((lin_ms(768) - f64::midpoint(lin_ms(512), lin_ms(1_024))).abs() < 1e-9);
    assert!((lin_ms(24_576) - (2.0 * lin_ms(16_384) - lin_ms(8_192))).abs() < 1e-9);
}

#[test]
fn instant_steps_take_no_time() {
    assert!(step_time(Preset::Instant).seconds(&prefill(8_192, 100)).abs() < f64::EPSILON);
}
