/**
 * The ways between the states of a member, as README.md draws them. `close()` leads to `closed` from everywhere.
 *
 * Nothing is decided here: member.ts says when, and the tests hold drawing, table and what members really do together.
 */

import type { MemberState } from './status.ts'

export const WAYS: Readonly<Record<Exclude<MemberState, 'closed'>, readonly MemberState[]>> = {
  down: ['starting', 'failed'],
  starting: ['proving', 'recovering', 'down', 'failed'],
  proving: ['up', 'resting', 'recovering', 'down', 'failed'],
  up: ['resting', 'recovering', 'down', 'failed'],
  resting: ['proving', 'recovering', 'down', 'failed'],
  recovering: ['proving', 'down', 'failed'],
  failed: [],
}
