// In place of react-custom-scrollbars-2, which wants the document of another bundler: a scrolling box.
import React from 'react';

export class Scrollbars extends React.Component {
  render() {
    return React.createElement('div', { style: { height: '100%', overflow: 'auto' } }, this.props.children);
  }
}

export default Scrollbars;
