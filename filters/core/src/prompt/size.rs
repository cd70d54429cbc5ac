//! How much a prompt holds: its text, in bytes as the engine sees it, and its parts that are not text.
//!
//! It is measured where the text is hashed. The length of the body would count JSON's escapes, fields that reach no
//! prompt, and images in base64: a photo of three megabytes is a thousand tokens to a model, and a million as text.

/// The size of a whole prompt, also of what lies beyond the cells that are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of its text, decoded.
    pub text_bytes: u64,
    /// Its parts that are not text.
    pub media: Media,
}

/// What hashing a prompt has shown besides its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Its size.
    pub size: Size,
    /// Where its parts that are not text begin, in order: the first `PARTS_MAX` of them.
    pub parts: Vec<MediaPart>,
}

/// A part that is not text, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPart {
    /// Whole cells before it.
    pub cell: u32,
    /// What it is.
    pub kind: MediaKind,
}

/// Parts whose places are kept. Those beyond count as not cached.
pub(super) const PARTS_MAX: usize = 256;

/// What a part of a prompt is, if not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaKind {
    /// An image.
    Image,
    /// Speech or sound.
    Audio,
    /// A video.
    Video,
    /// A document that the engine reads.
    File,
}

/// Parts that are not text, counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media(pub [u32; MediaKind::COUNT]);

// === impl MediaKind ===

impl MediaKind {
    /// All of them, in the order of [`Media`] and of `UsageSeen.media` on the wire.
    pub const ALL: [Self; 4] = [Self::Image, Self::Audio, Self::Video, Self::File];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// By the type that a part has in the formats of OpenAI (`image_url`, `input_audio`, `computer_screenshot`), Anthropic (`image`, `document`) and
    /// vLLM (`video_url`, `image_embeds`).
    pub(super) fn of_part(kind: &str) -> Option<Self> {
        let is = |name| kind.contains(name);
        if is("image") || is("screenshot") {
            Some(Self::Image)
        } else if is("audio") {
            Some(Self::Audio)
        } else if is("video") {
            Some(Self::Video)
        } else if is("file") || is("document") {
            Some(Self::File)
        } else {
            None
        }
    }

    #[expect(clippy::as_conversions, reason = "the discriminant of an enum without fields")]
    const fn index(self) -> usize {
        self as usize
    }
}

// === impl Media ===

impl Media {
    /// Counts one more part.
    pub fn add(&mut self, kind: MediaKind) {
        if let Some(parts) = self.0.get_mut(kind.index()) {
            *parts = parts.saturating_add(1);
        }
    }

    /// From the counts of a message; kinds that are missing are zero, further ones are skipped.
    pub fn from_counts(counts: &[u32]) -> Self {
        let mut media = Self::default();
        for (parts, count) in media.0.iter_mut().zip(counts) {
            *parts = *count;
        }
        media
    }

    /// Whether all is text.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|parts| *parts == 0)
    }

    /// The place in [`MediaKind::ALL`] of the only kind that occurs, and how often it does; `None` where there are none or
    /// several.
    pub fn only_kind(&self) -> Option<(usize, u32)> {
        let mut kinds = self.0.iter().copied().enumerate().filter(|(_, parts)| *parts > 0);
        kinds.next().filter(|_| kinds.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_by_kind_and_survive_a_message_of_another_version() {
        let mut media = Media::default();
        assert!(media.is_empty() && media.only_kind().is_none());
        media.add(MediaKind::Audio);
        media.add(MediaKind::Audio);
        assert_eq!(media.only_kind(), Some((1, 2)));
        media.add(MediaKind::File);
        assert_eq!((media.only_kind(), media.is_empty()), (None, false));
        assert_eq!(Media::from_counts(&media.0), media);
        assert_eq!(Media::from_counts(&[3]), Media([3, 0, 0, 0]));
        assert_eq!(Media::from_counts(&[0, 0, 0, 1, 9]), Media([0, 0, 0, 1]));
    }
}
