//! The program that writes chats, as it is sent.

use super::generated::{ChatJoint, ChatLiteral, ChatPiece, ChatProgram, ChatShape, ChatTable};
use crate::num::u32_len;
use warmpath_template::{Form, Joint, Key, Piece, Program, Shape, SystemPlace, Table, ToolsAs, ToolsPlace};

// === impl ChatProgram ===

impl ChatProgram {
    /// The message of a program.
    pub fn of(program: &Program) -> Self {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => ChatPiece { text: text.clone(), now: String::new() },
            Piece::Now(format) => ChatPiece { text: String::new(), now: format.clone() },
        };
        let literal = |pieces: &Vec<Piece>| ChatLiteral { pieces: pieces.iter().map(piece).collect() };
        Self {
            shape: Some(ChatShape::of(program.shape)),
            switches: program.switches.clone(),
            arguments: program.arguments.clone(),
            guards: program.guards.clone(),
            literals: program.literals.iter().map(literal).collect(),
            tables: program.tables.iter().map(ChatTable::of).collect(),
            merges_system: program.merges_system,
        }
    }

    /// The program. `None`: it is of a newer kind, or broken.
    pub fn program(&self) -> Option<Program> {
        let piece = |piece: &ChatPiece| match piece.now.as_str() {
            "" => Piece::Text(piece.text.clone()),
            format => Piece::Now(format.to_owned()),
        };
        let literal = |literal: &ChatLiteral| literal.pieces.iter().map(piece).collect();
        Some(Program {
            shape: self.shape.as_ref()?.shape()?,
            switches: self.switches.clone(),
            arguments: self.arguments.clone(),
            guards: self.guards.clone(),
            literals: self.literals.iter().map(literal).collect(),
            tables: self.tables.iter().map(ChatTable::table).collect::<Option<_>>()?,
            merges_system: self.merges_system,
        })
    }
}

// === impl ChatShape ===

impl ChatShape {
    fn of(shape: Shape) -> Self {
        Self {
            has_parts: shape.has_parts,
            has_developer: shape.has_developer,
            reads_names: shape.reads_names,
            is_result_id_first: shape.is_result_id_first,
            has_calls: shape.has_calls,
            has_reasoning: shape.has_reasoning,
            tools_place: number(&ToolsPlace::ALL, &shape.tools_place),
            tools_as: number(&ToolsAs::ALL, &shape.tools_as),
            system_place: number(&SystemPlace::ALL, &shape.system_place),
            call_order: number(&Shape::CALLS, &shape.call),
        }
    }

    fn shape(&self) -> Option<Shape> {
        Some(Shape {
            has_parts: self.has_parts,
            has_developer: self.has_developer,
            reads_names: self.reads_names,
            is_result_id_first: self.is_result_id_first,
            has_calls: self.has_calls,
            has_reasoning: self.has_reasoning,
            tools_place: of_number(&ToolsPlace::ALL, self.tools_place)?,
            tools_as: of_number(&ToolsAs::ALL, self.tools_as)?,
            system_place: of_number(&SystemPlace::ALL, self.system_place)?,
            call: of_number(&Shape::CALLS, self.call_order)?,
        })
    }
}

// === impl ChatTable ===

impl ChatTable {
    fn of(table: &Table) -> Self {
        let switch = |value: &Option<bool>| value.map_or(0, |is_on| 1 + u32::from(is_on));
        let joint = |joint: &Joint| ChatJoint { from: joint.from.0, to: joint.to.0, literal: joint.literal };
        Self {
            has_tools: table.has_tools,
            switches: table.switches.iter().map(switch).collect(),
            fields: table.forms.iter().map(|(key, _)| key.0).collect(),
            forms: table.forms.iter().map(|(_, form)| number(&Form::ALL, form)).collect(),
            joints: table.joints.iter().map(joint).collect(),
            empty: table.empty.iter().map(|kind| u32::from(*kind)).collect(),
            kept: table.kept.clone(),
        }
    }

    fn table(&self) -> Option<Table> {
        let switch = |value: &u32| match value {
            0 => Some(None),
            1 | 2 => Some(Some(*value == 2)),
            _ => None,
        };
        let form = |(key, form): (&u32, &u32)| Some((Key(*key), of_number(&Form::ALL, *form)?));
        let joint =
            |joint: &ChatJoint| Joint { from: Key(joint.from), to: Key(joint.to), literal: joint.literal };
        let mut table = Table {
            has_tools: self.has_tools,
            switches: self.switches.iter().map(switch).collect::<Option<_>>()?,
            forms: self.fields.iter().zip(&self.forms).map(form).collect::<Option<_>>()?,
            joints: self.joints.iter().map(joint).collect(),
            empty: self.empty.iter().map(|kind| u8::try_from(*kind).ok()).collect::<Option<_>>()?,
            kept: self.kept.clone(),
        };
        table.forms.sort_by_key(|(key, _)| *key);
        table.joints.sort_by_key(|joint| (joint.from, joint.to));
        Some(table)
    }
}

fn number<T: PartialEq>(all: &[T], one: &T) -> u32 {
    u32_len(all.iter().position(|each| each == one).unwrap_or_default())
}

fn of_number<T: Copy>(all: &[T], number: u32) -> Option<T> {
    all.get(crate::num::index(number)).copied()
}
