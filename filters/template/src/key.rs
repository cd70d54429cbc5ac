//! What a place in a chat's text is: which field of the request goes there, and in which circumstances. Templates decide what
//! they write between two fields by these.

/// See the module: a kind in the low byte, circumstances above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u32);

/// The field of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Before all.
    Start = 0,
    /// After all, where the response begins.
    End = 1,
    /// After all, where no response is asked for.
    EndOfChat = 2,
    /// Content of a message of each role.
    System = 3,
    /// See [`Kind::System`].
    User = 4,
    /// See [`Kind::System`].
    Assistant = 5,
    /// See [`Kind::System`].
    Result = 6,
    /// What a model thought before its content.
    Reasoning = 7,
    /// A call's function.
    CallName = 8,
    /// A call's arguments.
    CallArguments = 9,
    /// A call's id.
    CallId = 10,
    /// The id of the call that a result belongs to.
    ResultId = 11,
    /// The name that a result gives.
    ResultName = 12,
    /// A whole tool.
    Tool = 13,
    /// A tool's function.
    ToolFunction = 14,
    /// A tool's name.
    ToolName = 15,
    /// A tool's description.
    ToolDescription = 16,
    /// A tool's parameters.
    ToolParameters = 17,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 18;
}

impl Key {
    /// The message comes after the last one of a user.
    pub const LATE: u32 = 1 << 8;
    /// It is the last message.
    pub const LAST: u32 = 1 << 9;
    /// It is the first of its kind: the first message of its role, the first call of a message, the first tool.
    pub const FIRST: u32 = 1 << 10;
    /// The message has calls.
    pub const CALLS: u32 = 1 << 11;
    /// The message has reasoning.
    pub const REASONED: u32 = 1 << 12;
    /// A further part of the same content.
    pub const PART: u32 = 1 << 13;
    /// A call's message has no content.
    pub const BARE: u32 = 1 << 14;
    /// The last message of a user.
    pub const LAST_USER: u32 = 1 << 15;
    /// The chat begins with a system message.
    pub const SYSTEM: u32 = 1 << 16;
    /// A tool has a description.
    pub const DESCRIBED: u32 = 1 << 17;
    /// A tool has parameters.
    pub const PARAMETERS: u32 = 1 << 18;
    /// A tool says whether it is loaded later.
    pub const DEFERRED: u32 = 1 << 19;
    /// A tool is strict.
    pub const STRICT: u32 = 1 << 20;
    /// A tool says that it is not strict.
    pub const LENIENT: u32 = 1 << 21;
    /// The bits of all circumstances.
    pub const CIRCUMSTANCES: std::ops::Range<u32> = 8..22;

    /// Of a kind, in some circumstances.
    pub fn new(kind: Kind, circumstances: u32) -> Self {
        Self(u32::from(kind.number()) | circumstances)
    }

    /// The number of its kind.
    pub fn kind(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Without the circumstances that do not matter: those of its kind that do are in `kept`.
    #[must_use]
    pub fn masked(self, kept: &[u32]) -> Self {
        let kept = kept.get(usize::from(self.kind())).copied().unwrap_or(u32::MAX);
        Self(self.0 & (kept | 0xFF))
    }

    /// Whether it is of a kind.
    pub fn is(self, kind: Kind) -> bool {
        self.kind() == kind.number()
    }
}

impl Kind {
    /// Its number.
    #[expect(clippy::as_conversions, reason = "the discriminant of an enum without fields")]
    pub const fn number(self) -> u8 {
        self as u8
    }
}
