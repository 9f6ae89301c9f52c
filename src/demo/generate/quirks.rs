//! What a real upstream does to a gateway, written by hand: these records stand among the generated
//! ones in the fixtures.

use crate::demo::Endpoint;

/// One odd record, or one odd entry of the identities object.
#[derive(Clone, Copy, Debug)]
pub struct Quirk {
    /// Whose fixture it is in.
    pub endpoint: Endpoint,
    /// Its index in `results`, or among the members of the identities object; from 0.
    pub at: u64,
    /// What is odd about it.
    pub what: &'static str,
    /// The record, or the entry with its name, as it is in the file.
    pub text: &'static str,
}

/// The quirks of the fixtures, by endpoint and then by index.
pub fn quirks() -> impl Iterator<Item = Quirk> {
    Endpoint::ALL.into_iter().flat_map(|endpoint| {
        (0..).zip(of(endpoint)).map(move |(number, &(what, text))| Quirk {
            endpoint,
            // Far enough apart that the generated records around them keep their character.
            at: 3 + 6 * number,
            what,
            text,
        })
    })
}

type Text = (&'static str, &'static str);

const fn of(endpoint: Endpoint) -> &'static [Text] {
    match endpoint {
        Endpoint::Identities => IDENTITIES,
        Endpoint::Denial => DENIAL,
        Endpoint::Intrusion => INTRUSION,
        Endpoint::Executable => EXECUTABLE,
        Endpoint::Misuse => MISUSE,
        Endpoint::Unauthorized => UNAUTHORIZED,
        Endpoint::Probing => PROBING,
        Endpoint::Other => OTHER,
    }
}

const IDENTITIES: &[Text] = &[
    ("an employee with several machines: the first", r#""17.1.2.3":1234"#),
    ("the second, its value a string", r#""17.4.5.6":"1234""#),
    ("with spaces", r#""17.105.244.255": 447770"#),
    ("an IPv6 address", r#""2001:db8::17:1":447770"#),
    (
        "an IPv6 address in capitals and uncompressed",
        r#""2001:0DB8:0000:0000:0000:0000:0017:0002":656611"#,
    ),
    ("an IPv4-mapped address: 17.6.6.6", r#""::ffff:17.6.6.6":656611"#),
    ("the same address in plain", r#""17.6.6.6":656611"#),
    ("an IPv4-mapped address in hexadecimal: 17.7.7.8", r#""::FFFF:1107:0708":243617"#),
    ("a name with an escape: 17.8.8.8", r#""17.8.8.\u0038":243617"#),
    ("no employee: null", r#""17.9.9.1":null"#),
    ("no employee: a boolean", r#""17.9.9.2":true"#),
    ("no employee: an array", r#""17.9.9.3":[447770]"#),
    ("no employee: an object that looks like a table", r#""17.9.9.4":{"17.9.9.4":447770}"#),
    ("no employee: the value is an address", r#""17.9.9.5":"17.105.244.255""#),
    ("no address: a name", r#""printer-3":447770"#),
    ("no address: a network", r#""17.1.2.0/24":447770"#),
    ("no address: a leading zero", r#""017.1.2.4":447770"#),
    ("an employee whose id is no number, escaped", r#""17.10.0.1":"j.m\u00fcller""#),
    ("an employee whose id is past 64 bits", r#""17.10.0.2":90071992547409931234"#),
    ("an address listed twice: this one gives way", r#""17.10.0.3":1234"#),
    ("an address listed twice: the last counts", r#""17.10.0.3":656611"#),
    ("an id spelled with an exponent", r#""17.10.0.4":1e3"#),
];

const DENIAL: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources",
        r#"{"priority":"low","reported_by":1234,"timestamp":1630000000.5,"source_ip":"17.4.5.6"}"#,
    ),
    (
        "a 17-digit timestamp",
        r#"{"priority":"low","reported_by":1234,"timestamp":1629939474.1346128,"source_ip":"17.105.244.255"}"#,
    ),
    (
        "the same record again, byte for byte: both count",
        r#"{"priority":"low","reported_by":1234,"timestamp":1629939474.1346128,"source_ip":"17.105.244.255"}"#,
    ),
    (
        "the id as a string",
        r#"{"priority":"low","reported_by":"1234","timestamp":1630000001.5,"source_ip":"17.105.244.255"}"#,
    ),
    (
        "the id as a string, escaped: 1234",
        r#"{"priority":"low","reported_by":"\u0031\u003234","timestamp":1630000002.5,"source_ip":"17.105.244.255"}"#,
    ),
    (
        "with spaces, as Python's json.dumps prints",
        r#"{"priority": "high", "reported_by": 447770, "timestamp": 1630100000.25, "source_ip": "17.1.2.3"}"#,
    ),
    (
        "an upstream type: first",
        r#"{"type":"ddos","priority":"medium","reported_by":1234,"timestamp":1630100001.5,"source_ip":"17.4.5.6"}"#,
    ),
    (
        "an upstream type: last, an object",
        r#"{"priority":"medium","reported_by":1234,"timestamp":1630100001.25,"type":{"kind":"ddos","of":["type",1]}}"#,
    ),
    (
        "the identity is null",
        r#"{"priority":"low","reported_by":null,"timestamp":1630100002.5,"source_ip":"17.1.2.3"}"#,
    ),
    (
        "the identity is a boolean",
        r#"{"priority":"low","reported_by":true,"timestamp":1630100003.5}"#,
    ),
    (
        "the identity is an array",
        r#"{"priority":"low","reported_by":[1234],"timestamp":1630100004.5}"#,
    ),
    (
        "the identity is an object",
        r#"{"priority":"low","reported_by":{"id":1234},"timestamp":1630100005.5}"#,
    ),
    (
        "the identity is missing",
        r#"{"priority":"low","timestamp":1630100006.5,"source_ip":"17.1.2.3"}"#,
    ),
    (
        "an address where ids are usual",
        r#"{"priority":"low","reported_by":"17.1.2.3","timestamp":1630100007.5}"#,
    ),
    ("an unknown priority", r#"{"priority":"urgent","reported_by":1234,"timestamp":1630100008.5}"#),
    ("a priority in capitals", r#"{"priority":"LOW","reported_by":1234,"timestamp":1630100009.5}"#),
    (
        "a timestamp as a string",
        r#"{"priority":"low","reported_by":1234,"timestamp":"1630100010.5"}"#,
    ),
    ("not an object: a string", r#""{\"priority\":\"low\"}""#),
    (
        "an id with a fraction is not 1234",
        r#"{"priority":"low","reported_by":1234.0,"timestamp":1630100011.5}"#,
    ),
    ("a negative id", r#"{"priority":"low","reported_by":-5,"timestamp":1630100012.5}"#),
    (
        "an id spelled with an exponent is not 1000",
        r#"{"priority":"low","reported_by":1e3,"timestamp":1630100013.5}"#,
    ),
];

const INTRUSION: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, spelled 1630000000.50",
        r#"{"priority":"low","internal_ip":"17.1.2.3","timestamp":1630000000.50,"source_ip":"17.4.5.6"}"#,
    ),
    (
        "an unknown IPv4 address",
        r#"{"priority":"high","internal_ip":"17.99.99.99","timestamp":1630200000.5}"#,
    ),
    (
        "an unknown IPv6 address",
        r#"{"priority":"high","internal_ip":"2001:db8::dead:beef","timestamp":1630200001.5}"#,
    ),
    (
        "an IPv6 address as in the table",
        r#"{"priority":"high","internal_ip":"2001:db8::17:1","timestamp":1630200002.5}"#,
    ),
    (
        "the same, uncompressed",
        r#"{"priority":"high","internal_ip":"2001:db8:0:0:0:0:17:1","timestamp":1630200003.5}"#,
    ),
    (
        "the same, in capitals with leading zeros",
        r#"{"priority":"high","internal_ip":"2001:0DB8::0017:0001","timestamp":1630200004.5}"#,
    ),
    (
        "the same, its end as in IPv4",
        r#"{"priority":"high","internal_ip":"2001:db8::0.23.0.1","timestamp":1630200005.5}"#,
    ),
    (
        "an address that the table has uncompressed",
        r#"{"priority":"high","internal_ip":"2001:db8::17:2","timestamp":1630200006.5}"#,
    ),
    (
        "an IPv4-mapped address",
        r#"{"priority":"high","internal_ip":"::ffff:17.1.2.3","timestamp":1630200007.5}"#,
    ),
    (
        "an IPv4-mapped address in hexadecimal",
        r#"{"priority":"high","internal_ip":"0:0:0:0:0:FFFF:1101:0203","timestamp":1630200008.5}"#,
    ),
    (
        "an address that the table has IPv4-mapped",
        r#"{"priority":"high","internal_ip":"17.7.7.8","timestamp":1630200009.5}"#,
    ),
    (
        "IPv4-compatible is not IPv4-mapped: unknown",
        r#"{"priority":"high","internal_ip":"::17.1.2.3","timestamp":1630200010.5}"#,
    ),
    (
        "the table has it with an escape",
        r#"{"priority":"high","internal_ip":"17.8.8.8","timestamp":1630200011.5}"#,
    ),
    (
        "an escape in the address",
        r#"{"priority":"high","internal_ip":"17.8\u002e8.8","timestamp":1630200012.5}"#,
    ),
    (
        "the table has null for it",
        r#"{"priority":"high","internal_ip":"17.9.9.1","timestamp":1630200013.5}"#,
    ),
    (
        "the table has an address for it",
        r#"{"priority":"high","internal_ip":"17.9.9.5","timestamp":1630200014.5}"#,
    ),
    (
        "the table has it twice",
        r#"{"priority":"high","internal_ip":"17.10.0.3","timestamp":1630200015.5}"#,
    ),
    (
        "no address: three parts, so an id",
        r#"{"priority":"high","internal_ip":"17.1.2","timestamp":1630200016.5}"#,
    ),
    (
        "no address: a part too large, so an id",
        r#"{"priority":"high","internal_ip":"17.1.2.300","timestamp":1630200017.5}"#,
    ),
    (
        "no address: a leading zero, so an id",
        r#"{"priority":"high","internal_ip":"017.1.2.3","timestamp":1630200018.5}"#,
    ),
    (
        "no address: a space, so an id",
        r#"{"priority":"high","internal_ip":"17.1.2.3 ","timestamp":1630200019.5}"#,
    ),
    (
        "two reasons: unknown address and invalid priority",
        r#"{"priority":"none","internal_ip":"17.99.99.99","timestamp":null}"#,
    ),
    ("two reasons: no identity and no timestamp", r#"{"priority":"low","internal_ip":null}"#),
    ("not an object: a number", "42"),
    ("not an object: a number with an exponent", "-1.50e+3"),
];

const EXECUTABLE: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, spelled 1.6300000005e9",
        r#"{"priority":"low","machine_ip":"17.1.2.3","timestamp":1.6300000005e9}"#,
    ),
    (
        "another order of members",
        r#"{"timestamp":1630300000.5,"machine_ip":"17.4.5.6","priority":"medium"}"#,
    ),
    (
        "number spellings in extra fields",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300001.5,"n":[1e3,1.50,-0,-0.0,1E+30,0.1e-7,123456789012345678901234567890,0.1000000000000000055511151231257827]}"#,
    ),
    (
        "decoys in nested fields",
        r#"{"details":{"priority":"critical","timestamp":1,"machine_ip":"17.105.244.255","type":"nested"},"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300002.5,"list":[{"type":"x","priority":"high"}]}"#,
    ),
    (
        "brackets, quotes and backslashes in strings",
        r#"{"path":"C:\\Temp\\{a}[b]\\","priority":"low","machine_ip":"17.4.5.6","timestamp":1630300003.5,"cmd":"echo \"}],{\\\" : \\\\"}"#,
    ),
    (
        "unicode, as it is and escaped",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300004.5,"note":"Zoë 漢字 😀 \u00e9 \ud83d\ude00 \/ \b\f\n\r\t","ключ":"\u0000"}"#,
    ),
    (
        "line separators and DEL, unescaped; an empty name",
        "{\"priority\":\"low\",\"machine_ip\":\"17.4.5.6\",\"timestamp\":1630300005.5,\"\":\"\u{2028}\u{2029}\u{7f}\"}",
    ),
    (
        "markup and a formula in extra fields",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300006.5,"note":"</script><script>alert(1)</script>","cell":"=1+1,\"a\""}"#,
    ),
    (
        "32 levels of nesting",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300007.5,"deep":[[[[[[[[[[[[[[[[{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":[[[[[[[[{}]]]]]]]]}}}}}}}}]]]]]]]]]]]]]]]]}"#,
    ),
    (
        "empty containers",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300008.5,"a":[],"o":{},"s":""}"#,
    ),
    (
        "the priority twice: the last counts",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300009.5,"priority":"critical"}"#,
    ),
    (
        "the timestamp twice: the last counts",
        r#"{"priority":"low","timestamp":1,"machine_ip":"17.4.5.6","timestamp":1630300010.5}"#,
    ),
    (
        "the identity twice: the last counts",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300011.5,"machine_ip":"17.105.244.255"}"#,
    ),
    (
        "the identity twice, the last null: missing",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300012.5,"machine_ip":null}"#,
    ),
    (
        "the priority twice, the last invalid",
        r#"{"priority":"low","machine_ip":"17.4.5.6","timestamp":1630300013.5,"prior\u0069ty":7}"#,
    ),
    (
        "with spaces and an extra field",
        r#"{"priority": "low", "machine_ip": "17.4.5.6", "timestamp": 1630300014.5, "details": {"a": [1, 2], "b": null}}"#,
    ),
    ("with spaces, without an identity", r#"{"priority": "low", "timestamp": 1630300015.5}"#),
    (
        "the table has an id that is no number",
        r#"{"priority":"critical","machine_ip":"17.10.0.1","timestamp":1630300016.5}"#,
    ),
    (
        "the table has an id past 64 bits",
        r#"{"priority":"critical","machine_ip":"17.10.0.2","timestamp":1630300017.5}"#,
    ),
    (
        "the table has an id with an exponent",
        r#"{"priority":"critical","machine_ip":"17.10.0.4","timestamp":1630300018.5}"#,
    ),
];

const MISUSE: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, the id a string",
        r#"{"priority":"low","employee_id":"1234","timestamp":1630000000.5}"#,
    ),
    (
        "the same moment again within the source",
        r#"{"priority":"low","employee_id":1234,"timestamp":1630000000.5,"n":2}"#,
    ),
    (
        "numeric order: 9 before 10",
        r#"{"priority":"low","employee_id":10,"timestamp":1630400000.5}"#,
    ),
    (
        "numeric order: 9 before 10, an extra field",
        r#"{"priority":"low","employee_id":9,"timestamp":1630400001.5,"n":1}"#,
    ),
    (
        "numeric order: a tie by value goes by text",
        r#"{"priority":"low","employee_id":"9","timestamp":1630400002.5}"#,
    ),
    (
        "numeric order: 009 ties with 9 and is another employee",
        r#"{"priority":"low","employee_id":"009","timestamp":1630400003.5}"#,
    ),
    (
        "numeric order: 0 and -0 tie",
        r#"{"priority":"low","employee_id":0,"timestamp":1630400004.5}"#,
    ),
    (
        "numeric order: -0 is another employee",
        r#"{"priority":"low","employee_id":-0,"timestamp":1630400005.5}"#,
    ),
    (
        "numeric order: -40 before -5",
        r#"{"priority":"low","employee_id":"-40","timestamp":1630400006.5}"#,
    ),
    (
        "numeric order past 53 bits: 9007199254740993",
        r#"{"priority":"low","employee_id":9007199254740993,"timestamp":1630400007.5}"#,
    ),
    (
        "numeric order past 53 bits: 9007199254740992",
        r#"{"priority":"low","employee_id":9007199254740992,"timestamp":1630400008.5}"#,
    ),
    (
        "past 64 bits, as in the table",
        r#"{"priority":"low","employee_id":"90071992547409931234","timestamp":1630400009.5}"#,
    ),
    ("no number: a plus sign", r#"{"priority":"low","employee_id":"+5","timestamp":1630400010.5}"#),
    (
        "no number: digits that are not ASCII",
        r#"{"priority":"low","employee_id":"٣","timestamp":1630400011.5}"#,
    ),
    ("no number: letters", r#"{"priority":"low","employee_id":"e-17","timestamp":1630400012.5}"#),
    (
        "no number: quote and backslash",
        r#"{"priority":"low","employee_id":"o\"neil\\x","timestamp":1630400013.5}"#,
    ),
    (
        "no number: control characters",
        r#"{"priority":"low","employee_id":"a\tb\u0001","timestamp":1630400014.5}"#,
    ),
    (
        "no number: beyond ASCII",
        r#"{"priority":"low","employee_id":"j.müller","timestamp":1630400015.5}"#,
    ),
    (
        "the same, escaped",
        r#"{"priority":"low","employee_id":"j.m\u00FCller","timestamp":1630400016.5}"#,
    ),
    (
        "code points, not UTF-16: U+FF5E comes before U+1F600",
        r#"{"priority":"low","employee_id":"～","timestamp":1630400017.5}"#,
    ),
    (
        "code points, not UTF-16: U+1F600, escaped",
        r#"{"priority":"low","employee_id":"\ud83d\ude00","timestamp":1630400018.5}"#,
    ),
    (
        "an escaped slash in an id",
        r#"{"priority":"low","employee_id":"a\/b","timestamp":1630400019.5}"#,
    ),
    (
        "an address where ids are usual, unknown",
        r#"{"priority":"low","employee_id":"17.99.99.98","timestamp":1630400020.5}"#,
    ),
    (
        "not an object: an array of records",
        r#"[{"priority":"low","employee_id":1234,"timestamp":1630400021.5}]"#,
    ),
];

const UNAUTHORIZED: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, with more zeros",
        r#"{"priority":"low","employee_id":1234,"timestamp":1630000000.500000000000000000000}"#,
    ),
    (
        "an unsorted run: the latest first",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500005.5}"#,
    ),
    (
        "an unsorted run: earlier",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500004.5}"#,
    ),
    (
        "an unsorted run: earlier still",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500003.5}"#,
    ),
    (
        "an unsorted run: between",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500004.0}"#,
    ),
    ("an integer", r#"{"priority":"critical","employee_id":656611,"timestamp":1630500004}"#),
    ("an exponent", r#"{"priority":"critical","employee_id":656611,"timestamp":16305000040E-1}"#),
    (
        "a tie of two spellings, the longer first: equal as f64",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500006.13461281}"#,
    ),
    (
        "a tie of two spellings, the shorter second: equal as f64",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500006.1346128}"#,
    ),
    (
        "a fraction finer than f64, below the last",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500006.00000000000000000001}"#,
    ),
    (
        "an exponent with a plus sign and zeros",
        r#"{"priority":"critical","employee_id":656611,"timestamp":0.16305000045E+0010}"#,
    ),
    ("no timestamp: missing", r#"{"priority":"critical","employee_id":656611}"#),
    ("no timestamp: null", r#"{"priority":"critical","employee_id":656611,"timestamp":null}"#),
    (
        "no timestamp: a boolean",
        r#"{"priority":"critical","employee_id":656611,"timestamp":false}"#,
    ),
    (
        "no timestamp: an array",
        r#"{"priority":"critical","employee_id":656611,"timestamp":[1630500007.5]}"#,
    ),
    (
        "no timestamp: a date",
        r#"{"priority":"critical","employee_id":656611,"timestamp":"2021-09-01T12:00:00Z"}"#,
    ),
    (
        "no timestamp: not finite as f64",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1e400}"#,
    ),
    (
        "no timestamp: not finite as f64, negative",
        r#"{"priority":"critical","employee_id":656611,"timestamp":-1.0E+999}"#,
    ),
    (
        "no timestamp: twice, the last null",
        r#"{"priority":"critical","employee_id":656611,"timestamp":1630500008.5,"timestamp":null}"#,
    ),
    ("not an object: null", "null"),
];

const PROBING: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, the address IPv4-mapped",
        r#"{"priority":"low","ip":"::ffff:17.1.2.3","timestamp":1630000000.5}"#,
    ),
    (
        "an upstream type: in the middle",
        r#"{"priority":"low","ip":"17.1.2.3","type":"scan","timestamp":1630600000.5}"#,
    ),
    (
        "an upstream type: its name escaped",
        r#"{"priority":"low","\u0074ype":"scan","ip":"17.1.2.3","timestamp":1630600001.5}"#,
    ),
    (
        "an upstream type: null",
        r#"{"type":null,"priority":"low","ip":"17.1.2.3","timestamp":1630600002.5}"#,
    ),
    (
        "an upstream type: two",
        r#"{"type":"a","priority":"low","ip":"17.1.2.3","timestamp":1630600003.5,"type":"b"}"#,
    ),
    (
        "an upstream type: two, side by side",
        r#"{"priority":"low","type":"a","type":"b","ip":"17.1.2.3","timestamp":1630600004.5}"#,
    ),
    (
        "an upstream type: the source's own name",
        r#"{"type":"probing","priority":"low","ip":"17.1.2.3","timestamp":1630600005.5}"#,
    ),
    ("an upstream type: nothing else", r#"{"type":"scan"}"#),
    (
        "an upstream type in a record without identity",
        r#"{"priority":"low","type":["scan"],"timestamp":1630600006.5}"#,
    ),
    (
        "Type is not type",
        r#"{"priority":"low","ip":"17.1.2.3","timestamp":1630600007.5,"Type":"scan","types":1}"#,
    ),
    (
        "a priority with an escape",
        r#"{"priority":"l\u006fw","ip":"17.1.2.3","timestamp":1630600008.5}"#,
    ),
    (
        "member names with escapes",
        r#"{"prior\u0069ty":"low","\u0069p":"17.1.2.3","timest\u0061mp":1630600009.5}"#,
    ),
    ("Priority is not priority", r#"{"Priority":"low","ip":"17.1.2.3","timestamp":1630600010.5}"#),
    ("a priority with a space", r#"{"priority":"low ","ip":"17.1.2.3","timestamp":1630600011.5}"#),
    ("a priority that is null", r#"{"priority":null,"ip":"17.1.2.3","timestamp":1630600012.5}"#),
    (
        "a priority that is an array",
        r#"{"priority":["low"],"ip":"17.1.2.3","timestamp":1630600013.5}"#,
    ),
    (
        "two reasons: invalid priority and invalid timestamp",
        r#"{"priority":3,"ip":"17.1.2.3","timestamp":"never"}"#,
    ),
    (
        "a number where addresses are usual",
        r#"{"priority":"low","ip":447770,"timestamp":1630600014.5}"#,
    ),
    (
        "a number with a fraction is an id, not an address",
        r#"{"priority":"low","ip":17.1,"timestamp":1630600015.5}"#,
    ),
    ("an object without members", "{}"),
    ("not an object: a boolean", "true"),
    ("not an object: an empty string", r#""""#),
    ("not an object: nested arrays", r#"[[],[{"type":"x"}],"]"]"#),
];

const OTHER: &[Text] = &[
    (
        "one moment, employee and priority in all seven sources, spelled 16300000005e-1",
        r#"{"priority":"low","identifier":"17.1.2.3","timestamp":16300000005e-1}"#,
    ),
    ("a number", r#"{"priority":"high","identifier":243617,"timestamp":1630700000.5}"#),
    (
        "the same employee as a string",
        r#"{"priority":"high","identifier":"243617","timestamp":1630700001.5}"#,
    ),
    (
        "the same employee by IPv4",
        r#"{"priority":"high","identifier":"17.7.7.8","timestamp":1630700002.5}"#,
    ),
    (
        "the same employee by an IPv4-mapped address",
        r#"{"priority":"high","identifier":"::ffff:1107:708","timestamp":1630700003.5}"#,
    ),
    (
        "an employee by IPv6",
        r#"{"priority":"high","identifier":"2001:DB8:0::17:2","timestamp":1630700004.5}"#,
    ),
    (
        "an unknown address",
        r#"{"priority":"high","identifier":"17.99.99.97","timestamp":1630700005.5}"#,
    ),
    (
        "an unknown address, IPv4-mapped",
        r#"{"priority":"high","identifier":"::ffff:17.99.99.97","timestamp":1630700006.5}"#,
    ),
    ("a name", r#"{"priority":"high","identifier":"printer-3","timestamp":1630700007.5}"#),
    ("true", r#"{"priority":"high","identifier":true,"timestamp":1630700008.5}"#),
    ("null", r#"{"priority":"high","identifier":null,"timestamp":1630700009.5}"#),
    (
        "an object with an id inside",
        r#"{"priority":"high","identifier":{"employee_id":243617},"timestamp":1630700010.5}"#,
    ),
    ("an empty array", r#"{"priority":"high","identifier":[],"timestamp":1630700011.5}"#),
    (
        "another source's field is no identity here",
        r#"{"priority":"high","employee_id":243617,"timestamp":1630700012.5}"#,
    ),
    (
        "with spaces, identity an address",
        r#"{"priority": "medium", "identifier": "17.4.5.6", "timestamp": 1630700013.5}"#,
    ),
    (
        "with spaces, identity a string",
        r#"{"priority": "medium", "identifier": "1234", "timestamp": 1630700014.5}"#,
    ),
    (
        "a fixed-width id is another employee",
        r#"{"priority":"high","identifier":"0243617","timestamp":1630700015.5}"#,
    ),
    (
        "the table lists this address, but as an object",
        r#"{"priority":"high","identifier":"17.9.9.4","timestamp":1630700016.5}"#,
    ),
    (
        "the table lists no address: 17.1.2.0/24 is an id",
        r#"{"priority":"high","identifier":"17.1.2.0/24","timestamp":1630700017.5}"#,
    ),
];
