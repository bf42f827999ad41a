//! Values that the schema has no field for, as a protobuf `Struct` that every client can decode.

use prost::Message;
use prost_types::{ListValue, Struct, value::Kind};

use super::{
    Reason,
    fields::{Fields, Left},
    json::{Object, Text, Value},
    number,
};

/// The most bytes of the encoded `Struct`.
pub(super) const BYTES_MAX: usize = 256 * 1024;

/// The most levels of nesting. The body's own object is the first. Decoders stop at 100 protobuf
/// levels: an object takes three of them, and the messages around it take two.
pub(super) const LEVELS_MAX: usize = 30;

const _: () = assert!(2 + 3 * LEVELS_MAX <= 100);

/// What is left over of a body; none if nothing is. If it is too large or too deep, none of it is
/// kept.
pub(super) fn collect(body: &Fields<'_>) -> Result<Option<Struct>, Reason> {
    if body.is_done() {
        return Ok(None);
    }
    let collected = Budget(BYTES_MAX).part(body, 1)?;
    if collected.encoded_len() > BYTES_MAX {
        return Err(Reason::TooLarge);
    }
    Ok(Some(collected))
}

/// The remaining bytes. It counts slightly less than the encoding takes, so that it stops early for
/// a hostile body, but never for an acceptable one.
struct Budget(usize);

impl Budget {
    fn part(&mut self, fields: &Fields<'_>, level: usize) -> Result<Struct, Reason> {
        let fields = fields.left().map(|(key, left)| {
            let key = self.text(key)?;
            let value = match left {
                Left::Whole(value) => self.value(value, level)?,
                Left::Part(part) => value_of(Kind::StructValue(self.part(part, level + 1)?)),
            };
            Ok((key, value))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Struct { fields })
    }

    /// A value at this level of nesting.
    fn value(&mut self, value: &Value<'_>, level: usize) -> Result<prost_types::Value, Reason> {
        self.spend(4)?;
        Ok(value_of(match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(bool) => Kind::BoolValue(*bool),
            Value::Number(number) => match number::exact_double(number) {
                Some(double) => Kind::NumberValue(double),
                None => {
                    self.spend(number.len())?;
                    Kind::StringValue((*number).to_owned())
                }
            },
            Value::String(text) => Kind::StringValue(self.text(text)?),
            Value::Array(items) => Kind::ListValue(self.list(items, level + 1)?),
            Value::Object(object) => Kind::StructValue(self.object(object, level + 1)?),
        }))
    }

    fn list(&mut self, items: &[Value<'_>], level: usize) -> Result<ListValue, Reason> {
        check_level(level)?;
        let values = items.iter().map(|item| self.value(item, level));
        let values = values.collect::<Result<_, _>>()?;
        Ok(ListValue { values })
    }

    fn object(&mut self, object: &Object<'_>, level: usize) -> Result<Struct, Reason> {
        check_level(level)?;
        let fields = object
            .entries()
            .iter()
            .map(|(key, value)| Ok((self.text(key)?, self.value(value, level)?)));
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Struct { fields })
    }

    fn text(&mut self, text: &Text<'_>) -> Result<String, Reason> {
        let text = text.text();
        self.spend(text.len())?;
        Ok(text.into_owned())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Reason> {
        self.0 = self.0.checked_sub(bytes).ok_or(Reason::TooLarge)?;
        Ok(())
    }
}

fn check_level(level: usize) -> Result<(), Reason> {
    if level > LEVELS_MAX {
        return Err(Reason::TooDeep);
    }
    Ok(())
}

fn value_of(kind: Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}
