/** Feeds on the significant tokens of one statement and knows whether a `;` ends it. */
export interface CompoundTracker {
  /** Takes the next word in upper case, or the next symbol; strings and quoted names are `''`. */
  take(token: string): void;
  /** Whether a BEGIN, IF, CASE, LOOP, WHILE, REPEAT or FOR of a stored program is open, so that `;` belongs to it. */
  isOpen(): boolean;
}

type BlockKind = 'begin' | 'if' | 'case-statement' | 'case-expression' | 'loop' | 'while' | 'repeat' | 'for';

/**
 * Where in a stored program the next token stands:
 * - `first`: at the first words of the statement;
 * - `clauses`: between CREATE and the kind of program;
 * - `header`: before the body;
 * - `start`: at the start of a statement of the body, where IF, REPEAT and BEGIN open blocks and END closes one;
 * - `inside`: within a statement, where IF and REPEAT are functions and `end` may be a column;
 * - `until`: behind UNTIL, whose condition END follows;
 * - `condition`, `condition-end`: in the list of conditions of a handler, behind which its statement starts;
 * - `plain`: in a statement that is no stored program.
 */
type Position = 'first' | 'clauses' | 'header' | 'start' | 'inside' | 'until' | 'condition' | 'condition-end' | 'plain';

interface Block {
  readonly kind: BlockKind;
  /** Where the text goes on behind the END. */
  readonly resume: Position;
}

interface State {
  position: Position;
  program: string;
  parentheses: number;
  parametersClosed: boolean;
  /** The token before the present one. */
  previous: string;
  afterEnd: boolean;
  readonly blocks: Block[];
}

const programs = new Set(['PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT']);
const createClauses = new Set(['', 'OR', 'REPLACE', 'DEFINER', '=', '@', '(', ')', 'AGGREGATE']);
const openers: Readonly<Partial<Record<string, BlockKind>>> = {
  BEGIN: 'begin',
  IF: 'if',
  CASE: 'case-statement',
  LOOP: 'loop',
  WHILE: 'while',
  REPEAT: 'repeat',
  FOR: 'for',
};
const startsStatement = new Set<BlockKind>(['begin', 'loop', 'repeat']);
const characteristics = new Set(
  'COMMENT LANGUAGE SQL NOT DETERMINISTIC CONTAINS NO READS MODIFIES DATA SECURITY DEFINER INVOKER'.split(' '),
);
const conditionPrefixes = new Set(['SQLSTATE', 'VALUE', 'NOT']);

/**
 * Follows the block structure of stored programs (and of MariaDB's blocks outside them: BEGIN NOT ATOMIC, IF, LOOP …), so
 * that their bodies need no DELIMITER. It knows the grammar only as far as where the statements of a body start.
 */
export function compoundTracker(): CompoundTracker {
  const state: State = {
    position: 'first',
    program: '',
    parentheses: 0,
    parametersClosed: false,
    previous: '',
    afterEnd: false,
    blocks: [],
  };
  return {
    take(token) {
      takeToken(state, token);
      state.previous = token;
    },
    isOpen: () => state.blocks.length > 0,
  };
}

function takeToken(state: State, token: string): void {
  if (token === '(') state.parentheses += 1;
  if (token === ')') state.parentheses -= 1;
  if (state.position === 'first') takeFirst(state, token);
  else if (state.position === 'clauses') takeClause(state, token);
  else if (state.position === 'header') takeHeader(state, token);
  else if (state.position !== 'plain') takeBody(state, token);
}

function takeFirst(state: State, token: string): void {
  const opener = openers[token];
  if (state.previous === 'BEGIN') {
    // MariaDB's BEGIN NOT ATOMIC opens a block; BEGIN alone starts a transaction.
    if (token === 'NOT') open(state, 'begin');
    else state.position = 'plain';
  } else if (token === 'CREATE' || token === 'ALTER') state.position = 'clauses';
  else if (opener !== undefined && token !== 'BEGIN') open(state, opener);
  else if (token !== 'BEGIN') state.position = 'plain';
}

function takeClause(state: State, token: string): void {
  if (state.previous === '=' || state.previous === '@') return;
  if (programs.has(token)) {
    state.program = token;
    state.position = 'header';
  } else if (!createClauses.has(token)) state.position = 'plain';
}

function takeHeader(state: State, token: string): void {
  const { program, previous } = state;
  if (program === 'TRIGGER') {
    if (token === 'ROW' && previous === 'EACH') state.position = 'start';
  } else if (program === 'EVENT') {
    if (token === 'DO' && state.parentheses === 0) state.position = 'start';
  } else if (token === ')' && state.parentheses === 0) state.parametersClosed = true;
  else if (state.parametersClosed && state.parentheses === 0 && isWord(token)) {
    // A function's type may be many words, so that only the words that can start its body count.
    const isBody =
      program === 'FUNCTION' ? openers[token] !== undefined || token === 'RETURN' : !characteristics.has(token);
    if (isBody) {
      state.position = 'start';
      takeBody(state, token);
    }
  }
}

function takeBody(state: State, token: string): void {
  if (token === ';') {
    state.position = 'start';
    state.afterEnd = false;
  } else if (token === ':' && state.position === 'inside') {
    // Behind a label a statement starts; behind `:` of `:=` the `=` ends that at once.
    state.position = 'start';
  } else if (state.position === 'condition' || state.position === 'condition-end') takeCondition(state, token);
  else if (isWord(token) && state.previous !== '.' && state.previous !== '@') takeWord(state, token);
  else if (state.position === 'start') state.position = 'inside';
}

function takeWord(state: State, word: string): void {
  const top = state.blocks.at(-1);
  const opener = openers[word];
  if (state.afterEnd) {
    state.afterEnd = false;
    // `END IF`, `END CASE` and the like: the word names what was closed.
    if (opener !== undefined && word !== 'BEGIN') return;
  }
  const { position } = state;
  if (word === 'END' && top !== undefined && (position !== 'inside' || top.kind === 'case-expression')) {
    state.blocks.pop();
    state.afterEnd = top.kind !== 'case-expression';
    state.position = top.resume;
  } else if (opener !== undefined && position === 'start') open(state, opener);
  else if (word === 'CASE') open(state, 'case-expression');
  else if (word === 'THEN' || word === 'ELSE') {
    if (top?.kind === 'if' || top?.kind === 'case-statement') state.position = 'start';
  } else if (word === 'DO' && position === 'inside' && (top?.kind === 'while' || top?.kind === 'for')) {
    state.position = 'start';
  } else if (word === 'HANDLER' && ['CONTINUE', 'EXIT', 'UNDO'].includes(state.previous)) state.position = 'condition';
  else if (position === 'start') state.position = afterStartingWord(word, state);
}

function afterStartingWord(word: string, state: State): Position {
  if (word === 'UNTIL') return 'until';
  const { previous } = state;
  if ((previous === 'BEGIN' && word === 'NOT') || (previous === 'NOT' && word === 'ATOMIC')) return 'start';
  // `FOR EACH ROW FOLLOWS other_trigger` comes before the statement of the trigger.
  if (previous === 'ROW' && (word === 'FOLLOWS' || word === 'PRECEDES')) return 'condition';
  return 'inside';
}

function takeCondition(state: State, token: string): void {
  if (state.position === 'condition') {
    if (token !== 'FOR' && !conditionPrefixes.has(token)) state.position = 'condition-end';
  } else if (token === ',') state.position = 'condition';
  else {
    state.position = 'start';
    takeBody(state, token);
  }
}

function open(state: State, kind: BlockKind): void {
  state.blocks.push({ kind, resume: kind === 'case-expression' ? state.position : 'inside' });
  state.position = startsStatement.has(kind) ? 'start' : 'inside';
}

function isWord(token: string): boolean {
  return /^[\w$\u0080-\uffff]/.test(token);
}
