//! Reduces a template to a program: renders probes, finds the fields of each in its text, and keeps the text between two fields by
//! what they are.
//!
//! What two probes contradict is not kept, nor what other chats, which were not learned from, show to be wrong: the program
//! writes less, and never something else than the template on any probe. It is no proof. Templates are programs, and one could
//! count to a hundred messages; the controller's comparison with what engines report finds that out.

use crate::probes::{self, MARK, Probe};
use crate::{Template, guards};
use std::collections::{BTreeMap, BTreeSet};
use warmpath_template::{
    Chat, Field, Form, Joint, Key, Kind, Piece, Program, Shape, Slot, SystemPlace, Table, ToolsAs,
    ToolsPlace, slots,
};

/// Arguments that switch between tables, if a template reads them.
const SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];

/// Variables that every template has.
const KNOWN: [&str; 8] = [
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "raise_exception",
    "strftime_now",
    "namespace",
    "range",
];

/// Rounds of taking back what other chats show to be wrong, at most, for a table.
const ROUNDS_MAX: usize = 200;

/// Around the format of a time in a rendered probe: characters for private use.
const NOW_MARKS: (char, char) = ('\u{e000}', '\u{e001}');

/// Forms in which a text may stand, the longest first.
const TEXT_FORMS: [Form; 7] = [
    Form::AsIs,
    Form::Quoted,
    Form::TrimStartLines,
    Form::TrimStart,
    Form::TrimEnd,
    Form::TrimLines,
    Form::Trim,
];

const JSON_FORMS: [Form; 4] = [Form::Json, Form::Compact, Form::Indented2, Form::Indented4];

/// A field that was found in a text.
struct Found<'t> {
    key: Key,
    form: Form,
    /// The text before it, after the last one that was found.
    before: &'t str,
}

/// What is known of one table while it is learned.
#[derive(Clone, Default)]
struct Learned {
    forms: BTreeMap<Key, Form>,
    joints: BTreeMap<(Key, Key), String>,
    wrong_forms: BTreeSet<Key>,
    wrong_joints: BTreeSet<(Key, Key)>,
    empty: Vec<u8>,
    /// The circumstances that matter, by kind.
    kept: Vec<u32>,
}

/// Reduces a template. `None`: nothing of it can be.
pub fn reduce(template: &Template) -> Option<Program> {
    let shape = shape_of(template);
    let named = template.variables();
    let switches: Vec<String> =
        SWITCHES.into_iter().filter(|name| named.contains(*name)).map(str::to_owned).collect();
    let is_argument = |name: &&String| !switches.contains(name) && !KNOWN.contains(&name.as_str());
    let arguments = named.iter().filter(is_argument).cloned().collect();
    let guards = guards::guards(template.source());
    let mut program = Program {
        shape,
        switches,
        arguments,
        guards,
        literals: Vec::new(),
        tables: Vec::new(),
        merges_system: template.merges_system(),
    };
    let mut literals: BTreeMap<String, u32> = BTreeMap::new();
    for has_tools in [false, true] {
        let mut without_switch: Option<Learned> = None;
        for switches in settings(program.switches.len()) {
            let same =
                without_switch.clone().filter(|_| changes_nothing(template, &program, has_tools, &switches));
            let Some(learned) = same.or_else(|| learn(template, &program, has_tools, &switches)) else {
                continue;
            };
            without_switch.get_or_insert_with(|| learned.clone());
            let table = learned.table(has_tools, switches, &mut literals);
            program.tables.push(table);
        }
    }
    let mut texts: Vec<(String, u32)> = literals.into_iter().collect();
    texts.sort_by_key(|(_, number)| *number);
    program.literals = texts.iter().map(|(text, _)| pieces(text)).collect();
    if program.tables.is_empty() { None } else { Some(program) }
}

/// No switch given, and each of them alone.
fn settings(switches: usize) -> Vec<Vec<Option<bool>>> {
    let mut settings = vec![vec![None; switches]];
    for at in 0..switches {
        for value in [false, true] {
            let mut setting = vec![None; switches];
            if let Some(switch) = setting.get_mut(at) {
                *switch = Some(value);
            }
            settings.push(setting);
        }
    }
    settings
}

/// Whether a setting of switches makes no difference to any of some chats.
fn changes_nothing(
    template: &Template,
    program: &Program,
    has_tools: bool,
    switches: &[Option<bool>],
) -> bool {
    let arguments = arguments_of(program, switches);
    probes::to_compare(has_tools, program.shape.has_parts).iter().step_by(3).all(|probe| {
        let with = template.render_probe(&chat_of(probe, Some(&arguments)));
        with == template.render_probe(&chat_of(probe, None))
    })
}

fn arguments_of(program: &Program, switches: &[Option<bool>]) -> Vec<u8> {
    let given = program.switches.iter().zip(switches);
    let fields = given.filter_map(|(name, value)| value.map(|value| format!("\"{name}\":{value}")));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
}

fn chat_of<'a>(probe: &'a Probe, arguments: Option<&'a [u8]>) -> Chat<'a> {
    Chat {
        messages: &probe.messages,
        tools: probe.tools.as_deref(),
        arguments,
        has_no_generation_prompt: probe.has_no_generation_prompt,
        ..Chat::default()
    }
}

/// The shape with which most probes can be read.
fn shape_of(template: &Template) -> Shape {
    let names = probes::with_names().map(|probe| template.render_probe(&chat_of(&probe, None)).ok());
    let mut best = Shape {
        has_parts: template.content_format() == crate::ContentFormat::Parts,
        has_developer: template.has_developer(),
        reads_names: names.first() != names.last(),
        has_calls: template.source().contains("tool_calls"),
        has_reasoning: template.source().contains("reasoning"),
        ..Shape::COMMON
    };
    let words = ["su", "suau", "suBt", "sua", "uAtuCttu", "suBtau", "uaBt", "uBnuq"];
    let probes = words.into_iter().flat_map(|word| {
        [false, true].map(|has_tools| probes::probe(word, has_tools, probes::Texts::Marked))
    });
    let texts: Vec<(Probe, String)> = probes
        .filter_map(|probe| template.render_probe(&chat_of(&probe, None)).ok().map(|text| (probe, text)))
        .collect();
    let read = |shape: Shape| {
        let found = texts
            .iter()
            .filter_map(|(probe, text)| align(text, &slots(&chat_of(probe, None), shape).ok()?, None));
        found.count()
    };
    // Each choice for itself, twice: one may only show when another is right.
    for _ in 0..2 {
        let variants = ToolsAs::ALL.map(|tools_as| Shape { tools_as, ..best });
        best = best_of(best, variants, read);
        let variants = ToolsPlace::ALL.map(|tools_place| Shape { tools_place, ..best });
        best = best_of(best, variants, read);
        let variants = SystemPlace::ALL.map(|system_place| Shape { system_place, ..best });
        best = best_of(best, variants, read);
        best = best_of(best, Shape::CALLS.map(|call| Shape { call, ..best }), read);
        best = best_of(best, [Shape { is_result_id_first: !best.is_result_id_first, ..best }], read);
    }
    best
}

fn best_of<const N: usize>(best: Shape, variants: [Shape; N], read: impl Fn(Shape) -> usize) -> Shape {
    variants.into_iter().fold(best, |best, variant| if read(variant) > read(best) { variant } else { best })
}

fn learn(
    template: &Template,
    program: &Program,
    has_tools: bool,
    switches: &[Option<bool>],
) -> Option<Learned> {
    let mut learned = Learned { kept: vec![u32::MAX; Kind::COUNT], ..Learned::default() };
    let arguments = arguments_of(program, switches);
    let has_parts = program.shape.has_parts;
    let common = probes::to_learn(has_tools, has_parts).into_iter().map(|probe| (probe, false));
    let rare = probes::rare(has_tools).into_iter().map(|probe| (probe, true));
    for (probe, is_rare) in common.chain(rare) {
        let chat = chat_of(&probe, Some(&arguments));
        let Ok(text) = template.render_probe(&chat) else { continue };
        let Ok(slots) = slots(&chat, program.shape) else { continue };
        let Some(found) = align(&text, &slots, None) else { continue };
        if !is_rare || learned.agrees(&found) {
            learned.add(&found);
        }
    }
    learned.generalise();
    let rendered = |probe: Probe| {
        let text = template.render_probe(&chat_of(&probe, Some(&arguments))).ok()?;
        Some((probe, text))
    };
    let compared: Vec<(Probe, String)> =
        probes::to_compare(has_tools, has_parts).into_iter().filter_map(rendered).collect();
    let is_right = |learned: &mut Learned| {
        (0..ROUNDS_MAX).any(|_| {
            let is_corrected = |(probe, text): &(Probe, String)| {
                learned.is_corrected_by(text, program, &chat_of(probe, None))
            };
            !compared.iter().any(is_corrected)
        })
    };
    if learned.joints.is_empty() || !is_right(&mut learned) {
        return None;
    }
    for (letter, kind) in
        [('s', Kind::System), ('u', Kind::User), ('a', Kind::Assistant), ('t', Kind::Result)]
    {
        learned.empty.push(kind.number());
        let probes = probes::with_empty(letter, has_tools).into_iter().filter_map(rendered);
        let mut probes = probes.collect::<Vec<_>>().into_iter();
        if probes.any(|(probe, text)| learned.differs(&text, program, &chat_of(&probe, None))) {
            learned.empty.pop();
        }
    }
    Some(learned)
}

/// Finds the fields of a chat in its text, in order. `None`: they are not there in this order, or one stands in a form that is
/// not known.
fn align<'t>(text: &'t str, slots: &[Slot<'_>], known: Option<&Learned>) -> Option<Vec<Found<'t>>> {
    let is_empty = |slot: &Slot<'_>| matches!(&slot.field, Field::Text(field) if field.is_empty());
    if known.is_none() && slots.iter().any(is_empty) {
        return None;
    }
    let mut found = Vec::with_capacity(slots.len());
    let mut rest = text;
    for slot in slots {
        let is_end = slot.key.is(Kind::End) || slot.key.is(Kind::EndOfChat);
        let (form, before, after) = match &slot.field {
            Field::Nothing if is_end => (Form::AsIs, rest, ""),
            Field::Nothing => (Form::AsIs, "", rest),
            field => find(field, slot.key, rest, known)?,
        };
        if before.contains(MARK) {
            return None;
        }
        found.push(Found { key: slot.key, form, before });
        rest = after;
    }
    Some(found)
}

fn find<'t>(
    field: &Field<'_>,
    key: Key,
    text: &'t str,
    known: Option<&Learned>,
) -> Option<(Form, &'t str, &'t str)> {
    let forms: &[Form] = match (known.map(|known| known.forms.get(&key.masked(&known.kept))), field) {
        (Some(form), _) => std::slice::from_ref(form?),
        (None, Field::Json(_)) => &JSON_FORMS,
        (None, _) => &TEXT_FORMS,
    };
    for form in forms {
        if *form == Form::Dropped {
            return Some((Form::Dropped, "", text));
        }
        let written = match field {
            Field::Text(field) => form.text(field).into_owned(),
            Field::Json(json) => form.json(json)?,
            Field::Nothing => String::new(),
        };
        if let Some((before, after)) = text.split_once(&written) {
            return Some((*form, before, after));
        }
    }
    let mark = mark_of(field)?;
    if text.contains(&mark) { None } else { Some((Form::Dropped, "", text)) }
}

/// The first mark in a field.
fn mark_of(field: &Field<'_>) -> Option<String> {
    let text = match field {
        Field::Text(text) => text.to_string(),
        Field::Json(json) => String::from_utf8_lossy(json).into_owned(),
        Field::Nothing => return None,
    };
    let at = text.find(MARK)?;
    text.get(at..at + MARK.len() + 7).map(str::to_owned)
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NOW_MARKS.0) {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (format, after) = after.split_once(NOW_MARKS.1).unwrap_or((after, ""));
        pieces.push(Piece::Now(format.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

// === impl Learned ===

impl Learned {
    /// Whether nothing of a chat contradicts what is known.
    fn agrees(&self, found: &[Found<'_>]) -> bool {
        let mut from = None;
        found.iter().all(|Found { key, form, before }| {
            let is_known = self.forms.get(key).is_none_or(|known| known == form);
            if *form == Form::Dropped {
                return is_known;
            }
            let joint = from.replace(*key).map(|from| (from, *key));
            is_known && joint.and_then(|joint| self.joints.get(&joint)).is_none_or(|known| known == before)
        })
    }

    fn add(&mut self, found: &[Found<'_>]) {
        let mut from = None;
        for Found { key, form, before } in found {
            if self.forms.get(key).is_some_and(|known| known != form) {
                self.wrong_forms.insert(*key);
            }
            self.forms.insert(*key, *form);
            if *form == Form::Dropped {
                continue;
            }
            if let Some(from) = from.replace(*key) {
                let known = self.joints.entry((from, *key)).or_insert_with(|| (*before).to_owned());
                if known != before {
                    self.wrong_joints.insert((from, *key));
                }
            }
        }
        self.forget_wrong();
    }

    /// Ignores circumstances that make no difference where both are known, so that it also holds for places that no probe has.
    fn generalise(&mut self) {
        for kind in 0..Kind::COUNT {
            for bit in Key::CIRCUMSTANCES {
                let mut kept = self.kept.clone();
                if let Some(kept) = kept.get_mut(kind) {
                    *kept &= !(1 << bit);
                }
                if let Some(merged) = self.merged(kept) {
                    *self = merged;
                }
            }
        }
    }

    /// The same with fewer circumstances. `None`: they make a difference, or no two places show that they do not.
    fn merged(&self, kept: Vec<u32>) -> Option<Self> {
        let mut merged = Self { kept, empty: self.empty.clone(), ..Self::default() };
        let mut is_shown = false;
        for (key, form) in &self.forms {
            let known = merged.forms.insert(key.masked(&merged.kept), *form);
            if known.is_some_and(|known| known != *form) {
                return None;
            }
            is_shown |= known == Some(Form::Dropped);
        }
        let mask = |(from, to): &(Key, Key)| (from.masked(&merged.kept), to.masked(&merged.kept));
        for (joint, text) in &self.joints {
            let known = merged.joints.insert(mask(joint), text.clone());
            if known.as_ref().is_some_and(|known| known != text) {
                return None;
            }
            is_shown |= known.is_some();
        }
        merged.wrong_forms = self.wrong_forms.iter().map(|key| key.masked(&merged.kept)).collect();
        merged.wrong_joints = self.wrong_joints.iter().map(mask).collect();
        let is_wrong = merged.wrong_joints.iter().any(|joint| merged.joints.contains_key(joint))
            || merged.wrong_forms.iter().any(|key| merged.forms.contains_key(key));
        (is_shown && !is_wrong).then_some(merged)
    }

    fn forget_wrong(&mut self) {
        let (forms, joints) = (&self.wrong_forms, &self.wrong_joints);
        self.forms.retain(|key, _| !forms.contains(key));
        self.joints.retain(|joint, _| !joints.contains(joint));
    }

    /// What the program would write of a probe; `None`: nothing.
    fn text(&self, slots: &[Slot<'_>]) -> Option<String> {
        let mut text = String::new();
        let mut from = None;
        for slot in slots {
            if let Field::Text(field) = &slot.field
                && field.chars().all(warmpath_template::is_space)
                && !(field.is_empty() && self.empty.contains(&slot.key.kind()))
            {
                return None;
            }
            let key = slot.key.masked(&self.kept);
            let form = *self.forms.get(&key)?;
            if form == Form::Dropped {
                continue;
            }
            if let Some(from) = from.replace(key) {
                text.push_str(self.joints.get(&(from, key))?);
            }
            match &slot.field {
                Field::Text(field) => text.push_str(&form.text(field)),
                Field::Json(json) => text.push_str(&form.json(json)?),
                Field::Nothing => {}
            }
        }
        Some(text)
    }

    /// Whether what the program would write of a chat is not its text.
    fn differs(&self, text: &str, program: &Program, chat: &Chat<'_>) -> bool {
        slots(chat, program.shape).is_ok_and(|slots| self.text(&slots).is_some_and(|written| written != text))
    }

    /// Takes back what a chat shows to be wrong. `false`: nothing is.
    fn is_corrected_by(&mut self, text: &str, program: &Program, chat: &Chat<'_>) -> bool {
        if !self.differs(text, program, chat) {
            return false;
        }
        let Ok(slots) = slots(chat, program.shape) else { return false };
        let before = (self.wrong_forms.len(), self.wrong_joints.len());
        if let Some(found) = align(text, &slots, Some(self)) {
            let mut from = None;
            for Found { key, before, .. } in found.iter().filter(|found| found.form != Form::Dropped) {
                let key = key.masked(&self.kept);
                if let Some(from) = from.replace(key)
                    && self.joints.get(&(from, key)).is_some_and(|known| known != before)
                {
                    self.wrong_joints.insert((from, key));
                }
            }
        } else {
            // Some form does not hold for other texts.
            let is_wrong =
                |slot: &&Slot<'_>| match (self.forms.get(&slot.key.masked(&self.kept)), &slot.field) {
                    (Some(Form::Dropped) | None, _) | (Some(_), Field::Nothing) => false,
                    (Some(form), Field::Text(field)) => !text.contains(&*form.text(field)),
                    (Some(form), Field::Json(json)) => {
                        form.json(json).is_none_or(|json| !text.contains(&json))
                    }
                };
            let wrong = slots.iter().find(is_wrong).map(|slot| slot.key.masked(&self.kept));
            self.wrong_forms.extend(wrong);
        }
        if before == (self.wrong_forms.len(), self.wrong_joints.len()) {
            // It is not known what is wrong: none of the fields is written any more.
            self.wrong_forms.extend(slots.iter().map(|slot| slot.key.masked(&self.kept)));
        }
        self.forget_wrong();
        true
    }

    fn table(
        &self,
        has_tools: bool,
        switches: Vec<Option<bool>>,
        literals: &mut BTreeMap<String, u32>,
    ) -> Table {
        let mut joints = Vec::with_capacity(self.joints.len());
        for ((from, to), text) in &self.joints {
            let next = u32::try_from(literals.len()).unwrap_or(u32::MAX);
            let literal = *literals.entry(text.clone()).or_insert(next);
            joints.push(Joint { from: *from, to: *to, literal });
        }
        let forms = self.forms.iter().map(|(key, form)| (*key, *form)).collect();
        Table { has_tools, switches, forms, joints, empty: self.empty.clone(), kept: self.kept.clone() }
    }
}
