/** What an operator can do about a return value; `hsm/ckr.ts` says what a program does about it. */

/** @returns e.g. `the token is full: ...`; undefined for a return value that explains nothing. */
export function cure(rv: number): string | undefined {
  return CURES.get(rv)
}

const UNSUPPORTED = 'this token cannot do that: choose another kind of key'

const CURES: ReadonlyMap<number, string> = new Map([
  [0x02, 'the module is out of memory'],
  [
    0x13,
    'this token does not allow such a value; what it does is in its manual, under the attributes of keys',
  ],
  [0x1b, 'this object forbids it by an attribute of its own'],
  [0x30, 'the device reports a fault of its own: see its log and its state'],
  [0x31, 'the token is full: destroy keys that are no longer needed, or ask its vendor for more room'],
  [0x32, 'the token was removed while it was in use'],
  [0x54, 'the module does not have this function'],
  [0x62, `${UNSUPPORTED}, or another size`],
  [0x68, 'the key may not be used for this'],
  [0x70, UNSUPPORTED],
  [0x71, UNSUPPORTED],
  [0xb1, 'too many sessions are open on the token: close other programs, or lower their "sessions"'],
  [0xb5, 'the token gives only read-only sessions: its user may not change keys, another one can'],
  [0xd0, 'this token wants attributes that are not set'],
  [0xd1, 'this token refuses this combination of attributes; what it does is in its manual'],
  [0xe0, 'the token is not there'],
  [
    0xe2,
    'the token is write-protected: keys are changed elsewhere (with its vendor’s tool, or on another member)',
  ],
  [
    0x101,
    'this needs a login that the token did not take; is the PIN of the user (not of the security officer) given?',
  ],
  [0x140, `${UNSUPPORTED}, or another curve`],
  [0x200, 'the HSM refused it: by its policy, or by the rights of this user'],
  [0x201, 'the token is full: destroy keys that are no longer needed, or ask its vendor for more room'],
])
